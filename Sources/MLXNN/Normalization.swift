import MLX

/// Layer normalisation over the last axis: (x − mean) / √(variance + eps) · weight + bias.
///
/// [..., D] → [..., D], with `weight` [D] and `bias` [D] where the layer has them.
///
/// Source: Ba, Kiros, Hinton, "Layer normalization", 2016, equation 4.
open class LayerNorm: Module, UnaryLayer {
  /// The factors [D], at first ones; `nil` without `affine`.
  public let weight: MLXArray?
  /// The offsets [D], at first zeros; `nil` without `affine` and `bias`.
  public let bias: MLXArray?
  /// D, the size of the last axis.
  public let dimensions: Int
  /// What is added to the variance.
  public let eps: Float

  /// A layer for vectors of the given size.
  public init(dimensions: Int, eps: Float = 1e-5, affine: Bool = true, bias: Bool = true) {
    self.dimensions = dimensions
    self.eps = eps
    weight = affine ? MLXArray.ones([dimensions]) : nil
    self.bias = affine && bias ? MLXArray.zeros([dimensions]) : nil
  }

  /// The normalised vectors.
  open func callAsFunction(_ x: MLXArray) -> MLXArray {
    MLXFast.layerNorm(x, weight: weight, bias: bias, eps: eps)
  }
}

/// Root-mean-square normalisation over the last axis: x / √(mean of squares + eps) · weight.
///
/// [..., D] → [..., D], with `weight` [D].
///
/// Source: Zhang, Sennrich, "Root mean square layer normalization", 2019, equation 4.
open class RMSNorm: Module, UnaryLayer {
  /// The factors [D], at first ones.
  public let weight: MLXArray
  /// What is added to the mean of squares.
  public let eps: Float

  /// A layer for vectors of the given size.
  public init(dimensions: Int, eps: Float = 1e-5) {
    weight = MLXArray.ones([dimensions])
    self.eps = eps
  }

  /// The normalised vectors.
  open func callAsFunction(_ x: MLXArray) -> MLXArray {
    MLXFast.rmsNorm(x, weight: weight, eps: eps)
  }
}
