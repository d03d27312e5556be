import MLX
import OrderedCollections

/// Two of every four weights along K are zero: what NVIDIA's sparse tensor cores run.
///
/// `values` [N, K/2] holds the two that are left of each group of four, `indices` [N, K/2] (`uint8`,
/// 0 to 3) where in the group they stand. K is padded to a multiple of four.
public struct TwoFour: LinearOperator {
  /// K, the length of an input row.
  public let inputs: Int
  /// N, the length of an output row.
  public let outputs: Int

  /// Makes the operator of K inputs and N outputs.
  public init(inputs: Int, outputs: Int) {
    self.inputs = inputs
    self.outputs = outputs
  }

  /// `2:4`.
  public var spec: OperatorSpec { .twoFour }

  /// ⌈K/4⌉, the groups of a row of W.
  var groups: Int { (inputs + 3) / 4 }

  /// The values as a core: an output sums over half the inputs, an input reaches half the outputs.
  private var core: Core {
    Core(
      name: "values", shape: [outputs, 2 * groups], fanIn: 2 * groups,
      fanOut: max(1, outputs / 2))
  }

  /// `values` [N, K/2] and `indices` [N, K/2].
  public var shapes: OrderedDictionary<String, [Int]> {
    ["values": core.shape, "indices": core.shape]
  }

  /// N·K/2 multiply-adds a row; the indices, two bits each where they are packed, are not counted.
  public var cost: Cost {
    Cost(parameters: core.count, multiplyAdds: Double(core.count))
  }

  /// X [..., K] → Y [..., N], by way of the dense matrix.
  public func apply(_ x: MLXArray, _ parameters: Parameters) -> MLXArray {
    let weight = spread(parameter("values", of: parameters), parameters)
    return onRows(x) { rows, _ in
      matmul(paddedColumns(rows, to: 4 * groups), weight.transposed())
    }
  }

  /// Values [N, K/2] put at the places of the indices, [N, K padded], zeros elsewhere.
  func spread(_ values: MLXArray, _ parameters: Parameters) -> MLXArray {
    let shape = [outputs, groups, 2]
    // Only the two low bits count, so that no index of a damaged file leaves its group.
    let places = bitwiseAnd(parameter("indices", of: parameters).asType(.int32), MLXArray(3))
    return scatterAddAlong(
      .zeros([outputs, groups, 4], dtype: values.dtype), places.reshaped(shape),
      values: values.reshaped(shape), axis: 2
    ).reshaped([outputs, 4 * groups])
  }

  /// W [N, K]: each of the four places of a group takes the values whose index names it.
  public func dense(_ parameters: Parameters) -> MLXArray? {
    let values = parameter("values", of: parameters).reshaped([outputs, groups, 2, 1])
    let places = parameter("indices", of: parameters).reshaped([outputs, groups, 2, 1])
    let here = (places % 4) .== arange(4, dtype: .uint8)
    let weight = sum(values * here.asType(values.dtype), axis: 2)
    return weight.reshaped([outputs, 4 * groups])[0..., 0..<inputs]
  }

  /// Normal values at random places.
  public func initialize(key: MLXArray) -> Parameters {
    let keys = MLXRandom.split(key: key, into: 3)
    // Two different places: one of four, and one of the three others. (No sort: MLX's, on a GPU,
    // takes fewer rows than a layer has groups.)
    let one = MLXRandom.randInt(low: 0, high: 4, [outputs, groups], key: keys[1])
    let other = (one + MLXRandom.randInt(low: 1, high: 4, [outputs, groups], key: keys[2])) % 4
    return [
      "values": MLXRandom.normal(core.shape, key: keys[0]) * core.deviation,
      "indices": stacked([minimum(one, other), maximum(one, other)], axis: 2)
        .asType(.uint8).reshaped(core.shape),
    ]
  }

  /// κ = K / fanIn, about 2, for the values; the indices are not trained.
  public var learningRateMultipliers: OrderedDictionary<String, Double> {
    ["values": Double(inputs) / Double(core.fanIn)]
  }
}
