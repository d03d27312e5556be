import MLX

/// What a fit approximates, and in which norm.
///
/// The error of an operator with dense form Ŵ is E‖(W − Ŵ) x‖² over the layer's real inputs x, which
/// is tr((W − Ŵ) H (W − Ŵ)ᵀ) with their second moment H = E[x xᵀ]. Without H the inputs count as
/// white, and the error is ‖W − Ŵ‖².
public struct FitTarget {
  /// W [N, K], `float32`.
  public var weight: MLXArray
  /// H [K, K], `float32`, symmetric and positive semi-definite.
  public var secondMoment: MLXArray?
  /// The second moment of t stacked rows [t·K, t·K], row-major (row, input), for operators whose
  /// tiles mix t rows; without it the rows of a tile count as independent with mean zero.
  public var tileMoment: MLXArray?

  /// Makes a target.
  public init(
    weight: MLXArray, secondMoment: MLXArray? = nil, tileMoment: MLXArray? = nil
  ) {
    self.weight = weight
    self.secondMoment = secondMoment
    self.tileMoment = tileMoment
  }
}
