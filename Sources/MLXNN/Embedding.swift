import MLX

/// A table of vectors: integers [...] → vectors [..., D].
///
/// `weight` is [count, D].
open class Embedding: Module, UnaryLayer {
  /// The vectors [count, D].
  public let weight: MLXArray

  /// A table of random vectors, normal with standard deviation 1/√D.
  public init(embeddingCount: Int, dimensions: Int, key: MLXArray? = nil) {
    let scale = (1 / Float(max(1, dimensions))).squareRoot()
    weight = MLXRandom.normal([embeddingCount, dimensions], scale: scale, key: key)
  }

  /// A table with the given vectors [count, D].
  public init(weight: MLXArray) {
    self.weight = weight
  }

  /// The vectors at the given positions, which the caller has checked to be in the table.
  open func callAsFunction(_ x: MLXArray) -> MLXArray {
    weight[x]
  }

  /// The products with every vector: [..., D] → [..., count], as the output layer of a language
  /// model with tied weights.
  open func asLinear(_ x: MLXArray) -> MLXArray {
    matmul(x, weight.T)
  }
}
