import MLX
import MLXNN

extension UnaryLayer {
  /// The layer on the first token of every sample: [B, T, K] → [B, N].
  ///
  /// The token goes in as a sample of one: as a row among the batch's, a layer that mixes the rows of a
  /// tile would mix samples.
  func onFirstToken(_ hidden: MLXArray) -> MLXArray { self(hidden[0..., 0..<1])[0..., 0] }
}
