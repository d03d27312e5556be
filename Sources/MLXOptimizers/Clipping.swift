import Kernels
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
  let norm = sqrt(squaredNorm(gradients.values))
  let factor = minimum(maxNorm / (norm + 1e-6), 1)
  return (gradients.mapValues { ($0 * factor).asType($0.dtype) }, norm)
}

/// The sum of all squares of arrays, a `float32` scalar.
public func squaredNorm(_ arrays: some Sequence<MLXArray>) -> MLXArray {
  let arrays = Array(arrays)
  let parts =
    TrainingKernels.squareSums(arrays)
    ?? arrays.map { square($0.asType(.float32)).sum().reshaped(1) }
  return parts.isEmpty ? MLXArray(Float(0)) : concatenated(parts, axis: 0).sum()
}
