import MLX
import MLXNN
import OrderedCollections

/// Gradients scaled so that the root of the sum of all their squares is at most `maxNorm`, and what
/// it was before, a `float32` scalar.
///
/// As in PyTorch the factor is min(1, maxNorm / (norm + 10⁻⁶)).
public func clipGradNorm(
  gradients: ModuleParameters, maxNorm: Float
) -> (ModuleParameters, MLXArray) {
  let squares = gradients.values.map { square($0.asType(.float32)).sum() }
  guard !squares.isEmpty else { return (gradients, MLXArray(Float(0))) }
  let norm = sqrt(stacked(squares).sum())
  let factor = minimum(maxNorm / (norm + 1e-6), 1)
  return (gradients.mapValues { ($0 * factor).asType($0.dtype) }, norm)
}
