import Kernels
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
    normalized(x, weight, bias, eps: eps, isCentred: true) {
      MLXFast.layerNorm($0, weight: $1, bias: $2, eps: self.eps)
    }
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
    normalized(x, weight, nil, eps: eps, isCentred: false) { x, weight, _ in
      MLXFast.rmsNorm(x, weight: weight, eps: self.eps)
    }
  }
}

/// A norm with the gradient of the kernels where there is one: MLX's own sums the gradients of weight
/// and bias over the rows in passes that leave most of a GPU idle.
private func normalized(
  _ x: MLXArray, _ weight: MLXArray?, _ bias: MLXArray?, eps: Float, isCentred: Bool,
  _ norm: @escaping (MLXArray, MLXArray?, MLXArray?) -> MLXArray
) -> MLXArray {
  guard let weight, bias.map({ $0.dtype == weight.dtype }) ?? true,
    TrainingKernels.hasNormGradient(x, weight: weight)
  else { return norm(x, weight, bias) }
  let function = CustomFunction { primals in
    [norm(primals[0], primals[1], primals.count > 2 ? primals[2] : nil)]
  } backward: { primals, cotangents, _ in
    let gradients = TrainingKernels.normGradient(
      primals[0], weight: primals[1], cotangent: cotangents[0], eps: eps, isCentred: isCentred)
    guard let gradients else {
      throw MLXError("[norm] expected a kernel of the gradient, got none.")
    }
    return [gradients.x, gradients.weight] + (primals.count > 2 ? [gradients.bias] : [])
  }
  return function([x, weight] + [bias].compactMap(\.self))[0]
}
