import MLX
import MLXNN

extension LlamaModel: StagedModel {
  /// The embeddings, the layers, the logits.
  public var stageCount: Int { layerCount + 2 }
  /// The layers.
  public var stack: Range<Int> { 1..<layerCount + 1 }
  /// One token.
  public var placeholder: MLXArray { .zeros([1, 1], dtype: .int32) }

  /// The embeddings [B, T, D] of tokens [B, T], a layer's hidden states, or the logits [B, T, V].
  public func advanced(_ x: MLXArray, through stage: Int) -> MLXArray {
    switch stage {
    case 0: model.words(x)
    case stack: model.layers[stage - 1](x, cache: nil)
    default: logits(of: model.norm(x))
    }
  }
}
