import MLX
import MLXNN

extension BERTModel: StagedModel {
  /// The embeddings and the layers.
  public var stageCount: Int { 1 + encoder.layers.count }
  /// The layers.
  public var stack: Range<Int> { 1..<stageCount }
  /// One token.
  public var placeholder: MLXArray { .zeros([1, 1], dtype: .int32) }

  /// The embeddings [B, T, D] of tokens [B, T], or a layer's hidden states [B, T, D].
  public func advanced(_ x: MLXArray, through stage: Int) -> MLXArray {
    stage == 0 ? embeddings(x, tokenTypes: nil) : encoder.layers[stage - 1](x, mask: nil)
  }
}
