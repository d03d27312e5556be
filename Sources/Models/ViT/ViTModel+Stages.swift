import MLX
import MLXNN

extension ViTModel: StagedModel {
  /// The embeddings, the layers, the logits.
  public var stageCount: Int { configuration.layerCount + 2 }
  /// The layers.
  public var stack: Range<Int> { 1..<configuration.layerCount + 1 }
  /// One image.
  public var placeholder: MLXArray { .zeros([1] + imageShape) }

  /// The embeddings [B, 1 + patches, D] of images, a layer's hidden states, or the logits
  /// [B, classes].
  public func advanced(_ x: MLXArray, through stage: Int) -> MLXArray {
    switch stage {
    case 0: encoder.embeddings(x)
    case stack: encoder.stack.layers[stage - 1](x)
    default: logits(of: encoder.norm(x))
    }
  }
}
