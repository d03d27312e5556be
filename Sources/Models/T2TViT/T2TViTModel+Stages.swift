import MLX
import MLXNN

extension T2TViTModel: StagedModel {
  /// The three splits, the layers, the logits.
  public var stageCount: Int { configuration.layerCount + 4 }
  /// The layers.
  public var stack: Range<Int> { 3..<configuration.layerCount + 3 }
  /// One image.
  public var placeholder: MLXArray { .zeros([1] + imageShape) }

  /// The tokens [B, T, size] after the first and the second split, the embeddings
  /// [B, 1 + tokens, D], a layer's hidden states, or the logits [B, classes].
  public func advanced(_ x: MLXArray, through stage: Int) -> MLXArray {
    switch stage {
    case 0: tokens.fine(x)
    case 1: tokens.coarse(x)
    case 2: embedded(tokens.projected(x))
    case stack: layers[stage - 3](x)
    default: head.onFirstToken(norm(x))
    }
  }
}
