import MLX

/// The sizes of a GPT-2, as `config.json` names them.
public struct GPT2Configuration: CausalTransformerConfiguration {
  /// V, the number of different tokens.
  public var vocabularySize: Int
  /// The largest number of tokens of one sequence.
  public var maximumLength: Int
  /// D, the size of a hidden state.
  public var hiddenSize: Int
  /// The number of layers.
  public var layerCount: Int
  /// The number of attention heads, a divisor of D.
  public var headCount: Int
  /// The size of the layer between the two feed-forward products.
  public var intermediateSize: Int
  /// What layer normalisation adds to the variance.
  public var layerNormEpsilon: Float
  /// The activation between the two feed-forward products.
  public var activation: Activation
  /// Whether the table of words is the output layer too.
  public var tiesEmbeddings: Bool
  /// The tokens that end a text.
  public var endTokens: Set<Int32>

  /// Sizes by hand; the defaults are those of the smallest published model, 124 million parameters.
  public init(
    vocabularySize: Int = 50257, maximumLength: Int = 1024, hiddenSize: Int = 768,
    layerCount: Int = 12, headCount: Int = 12, intermediateSize: Int? = nil,
    layerNormEpsilon: Float = 1e-5, activation: Activation = .geluNew, tiesEmbeddings: Bool = true,
    endTokens: Set<Int32> = []
  ) {
    self.vocabularySize = vocabularySize
    self.maximumLength = maximumLength
    self.hiddenSize = hiddenSize
    self.layerCount = layerCount
    self.headCount = headCount
    self.intermediateSize = intermediateSize ?? 4 * hiddenSize
    self.layerNormEpsilon = layerNormEpsilon
    self.activation = activation
    self.tiesEmbeddings = tiesEmbeddings
    self.endTokens = endTokens
  }

  /// Reads `config.json`; what would need another model throws.
  package init(_ file: ConfigurationFile) throws {
    try file.requireFalse("scale_attn_by_inverse_layer_idx")
    try file.requireFalse("add_cross_attention")
    try file.requireTrue("scale_attn_weights")
    let hiddenSize = try file.integer("n_embd")
    self.init(
      vocabularySize: try file.integer("vocab_size"),
      maximumLength: try file.integer("n_positions"), hiddenSize: hiddenSize,
      layerCount: try file.integer("n_layer", in: 1...10_000),
      headCount: try file.integer("n_head"),
      intermediateSize: try file.integer("n_inner", default: 4 * hiddenSize),
      layerNormEpsilon: Float(try file.positiveNumber("layer_norm_epsilon", default: 1e-5)),
      activation: try file.choice("activation_function", default: .geluNew),
      tiesEmbeddings: try file.bool("tie_word_embeddings", default: true),
      endTokens: try file.tokens("eos_token_id"))
    try file.requireDivisor("n_head", headCount, of: "n_embd", hiddenSize)
  }

  /// The text of a `config.json`.
  var text: String {
    JSON.object([
      "architectures": .array([.string("GPT2LMHeadModel")]),
      "model_type": .string(GPT2Model.modelType), "vocab_size": .integer(vocabularySize),
      "n_positions": .integer(maximumLength), "n_embd": .integer(hiddenSize),
      "n_layer": .integer(layerCount), "n_head": .integer(headCount),
      "n_inner": .integer(intermediateSize),
      "layer_norm_epsilon": .number("\(layerNormEpsilon)"),
      "activation_function": .string(activation.rawValue),
      "tie_word_embeddings": .bool(tiesEmbeddings), "eos_token_id": tokenList(endTokens),
    ]).encoded(indent: 2)
  }
}
