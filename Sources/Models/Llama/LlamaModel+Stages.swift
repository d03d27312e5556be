import MLX
import MLXNN

extension LlamaModel {
  /// The embeddings [B, T, D] of tokens [B, T], a layer's hidden states, or the logits [B, T, V].
  public func advanced(_ x: MLXArray, through stage: Int) -> MLXArray {
    switch stage {
    case 0: model.words(x)
    case stack: model.layers[stage - 1](x, cache: nil)
    default: logits(ofHidden: model.norm(x))
    }
  }
}
