import MLX

/// A dense linear layer: Y = X Wᵀ + b for X [..., K] → Y [..., N].
///
/// `weight` is [N, K] and `bias`, if any, [N]. Cost: N·K multiply-adds a row.
open class Linear: Module, UnaryLayer {
  /// W [N, K].
  public let weight: MLXArray
  /// The bias [N], if any.
  public let bias: MLXArray?

  /// K, the size of the last axis of the input.
  public var inputDimensions: Int { weight.dim(1) }

  /// N, the size of the last axis of the output.
  public var outputDimensions: Int { weight.dim(0) }

  /// A layer with weight and bias spread evenly over ±1/√K.
  public init(
    _ inputDimensions: Int, _ outputDimensions: Int, bias: Bool = true, key: MLXArray? = nil
  ) {
    let scale = (1 / Double(max(1, inputDimensions))).squareRoot()
    let keys = key.map { MLXRandom.split(key: $0) }
    weight = MLXRandom.uniform(
      low: -scale, high: scale, [outputDimensions, inputDimensions], key: keys?.0)
    self.bias =
      bias
      ? MLXRandom.uniform(low: -scale, high: scale, [outputDimensions], key: keys?.1) : nil
  }

  /// A layer with the given weight [N, K] and bias [N].
  public init(weight: MLXArray, bias: MLXArray? = nil) {
    self.weight = weight
    self.bias = bias
  }

  /// The output [..., N] for an input [..., K].
  open func callAsFunction(_ x: MLXArray) -> MLXArray {
    guard let bias else { return matmul(x, weight.T) }
    return addMM(bias, x, weight.T)
  }
}
