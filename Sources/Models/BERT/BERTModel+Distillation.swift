import MLX
import MLXNN

extension BERTModel {
  /// The hidden states [B, T, D] of every stage for tokens [B, T] that have been checked: the
  /// embeddings', then each layer's.
  ///
  /// `between` is applied to what one stage hands to the next: `stopGradient` makes every layer
  /// learn from its own error alone.
  public func hiddenStates(
    tokens: MLXArray, mask: MLXArray? = nil, between: (MLXArray) -> MLXArray
  ) -> [MLXArray] {
    let attentionMask = mask.map { $0.expandedDimensions(axes: [1, 2]) }
    var states = [embeddings(tokens, tokenTypes: nil)]
    for layer in encoder.layers {
      states.append(layer(between(states[states.count - 1]), mask: attentionMask))
    }
    return states
  }

  /// Takes the embedding tables out of the trainable parameters.
  public func freezeEmbeddings() throws {
    try embeddings.freeze()
  }
}
