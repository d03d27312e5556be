import MLX
import MLXNN

extension GPT2Model {
  /// The embeddings [B, T, D] of tokens [B, T], a layer's hidden states, or the logits [B, T, V].
  public func advanced(_ x: MLXArray, through stage: Int) -> MLXArray {
    switch stage {
    case 0: transformer.embedded(x, start: 0)
    case stack: transformer.layers[stage - 1](x, cache: nil)
    default: logits(ofHidden: transformer.norm(x))
    }
  }
}
