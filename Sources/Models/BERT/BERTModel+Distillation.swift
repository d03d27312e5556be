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

  /// The embeddings [B, T, D] of tokens [B, T] that have been checked.
  public func embedded(_ tokens: MLXArray) -> MLXArray {
    embeddings(tokens, tokenTypes: nil)
  }

  /// The hidden states [B, T, D] after one layer.
  public func advanced(_ hidden: MLXArray, through layer: Int) -> MLXArray {
    encoder.layers[layer](hidden, mask: nil)
  }

  /// The number of the layer that a path lies in, `nil` outside the stack.
  public func layer(of path: String) -> Int? {
    let parts = path.split(separator: ".")
    guard parts.count > 2, parts[0] == "encoder", parts[1] == "layer", let index = Int(parts[2]),
      encoder.layers.indices.contains(index)
    else { return nil }
    return index
  }

  /// Takes the embedding tables out of the trainable parameters.
  public func freezeEmbeddings() throws {
    try embeddings.freeze()
  }
}
