import MLX

/// The sizes of a BERT encoder, as `config.json` names them.
public struct BERTConfiguration: Hashable, Sendable {
  /// The number of different tokens.
  public var vocabularySize: Int
  /// D, the size of a hidden state.
  public var hiddenSize: Int
  /// The number of layers.
  public var layerCount: Int
  /// The number of attention heads, a divisor of D.
  public var headCount: Int
  /// The size of the layer between the two feed-forward products.
  public var intermediateSize: Int
  /// The largest number of tokens of one input.
  public var maximumLength: Int
  /// The number of token types (segments).
  public var tokenTypeCount: Int
  /// What layer normalisation adds to the variance.
  public var layerNormEpsilon: Float
  /// The activation between the two feed-forward products.
  public var activation: Activation

  /// Sizes by hand; the defaults are those of the format.
  public init(
    vocabularySize: Int, hiddenSize: Int, layerCount: Int, headCount: Int, intermediateSize: Int,
    maximumLength: Int = 512, tokenTypeCount: Int = 2, layerNormEpsilon: Float = 1e-12,
    activation: Activation = .gelu
  ) {
    self.vocabularySize = vocabularySize
    self.hiddenSize = hiddenSize
    self.layerCount = layerCount
    self.headCount = headCount
    self.intermediateSize = intermediateSize
    self.maximumLength = maximumLength
    self.tokenTypeCount = tokenTypeCount
    self.layerNormEpsilon = layerNormEpsilon
    self.activation = activation
  }

  /// Reads `config.json`; what would need another model (decoders, relative positions) throws.
  package init(_ file: ConfigurationFile) throws {
    let positions = try file.string("position_embedding_type", default: "absolute")
    guard positions == "absolute" else {
      throw CheckpointError.unsupported(
        file: file.path, key: "position_embedding_type", expected: "absolute",
        got: "\"\(positions)\"")
    }
    try file.requireFalse("is_decoder")
    try file.requireFalse("add_cross_attention")
    self.init(
      vocabularySize: try file.integer("vocab_size"),
      hiddenSize: try file.integer("hidden_size"),
      layerCount: try file.integer("num_hidden_layers", in: 1...10_000),
      headCount: try file.integer("num_attention_heads"),
      intermediateSize: try file.integer("intermediate_size"),
      maximumLength: try file.integer("max_position_embeddings"),
      tokenTypeCount: try file.integer("type_vocab_size", default: 2),
      layerNormEpsilon: Float(try file.positiveNumber("layer_norm_eps", default: 1e-12)),
      activation: try file.choice("hidden_act"))
    try file.requireDivisor("num_attention_heads", headCount, of: "hidden_size", hiddenSize)
  }
}
