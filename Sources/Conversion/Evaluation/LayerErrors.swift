import MLX
import MLXNN
import Models

/// ‖ŷ − y‖ / ‖y‖ of converted layers by path, on the inputs that the original layers get from the
/// given batches.
func layerErrors(
  of converted: any StagedModel, against original: any StagedModel, layers paths: [String],
  batches: [ExampleBatch]
) throws -> [String: Double] {
  let replacements = Dictionary(
    uniqueKeysWithValues: try unaryLayers(of: converted, at: paths).map { ($0.path, $0.layer) })
  var sums: [String: (difference: MLXArray, size: MLXArray)] = [:]
  try observing(original, layers: paths) { path, x, y in
    guard let layer = replacements[path] else { return }
    let previous = sums[path] ?? (MLXArray(0.0), MLXArray(0.0))
    sums[path] = (
      previous.difference + sum(square(layer(x) - y)), previous.size + sum(square(y))
    )
  } during: {
    for batch in batches {
      _ = original.run(try batch.inputs())
      try eval(sums.values.flatMap { [$0.difference, $0.size] })
    }
  }
  return try sums.mapValues {
    let (difference, size) = (try $0.difference.item(Double.self), try $0.size.item(Double.self))
    // A layer whose outputs are all zero is copied without error by zeros.
    return difference == 0 ? 0 : (difference / size).squareRoot()
  }
}
