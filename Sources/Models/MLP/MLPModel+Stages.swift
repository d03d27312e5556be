import MLX
import MLXNN

extension MLPModel: StagedModel {
  /// The hidden layers and the output layer.
  public var stageCount: Int { layers.count }
  /// The hidden layers.
  public var stack: Range<Int> { 0..<layers.count - 1 }
  /// One image.
  public var placeholder: MLXArray { .zeros([1] + imageShape) }

  /// A hidden layer's outputs [B, D] after its activation, or the logits [B, classes]; images are
  /// flattened.
  public func advanced(_ x: MLXArray, through stage: Int) -> MLXArray {
    let y = layers[stage](stage == 0 ? x.flattened(start: 1) : x)
    return stack.contains(stage) ? configuration.activation(y) : y
  }
}
