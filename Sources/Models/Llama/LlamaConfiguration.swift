import MLX

/// The sizes of a Llama, as `config.json` names them.
public struct LlamaConfiguration: CausalTransformerConfiguration {
  /// V, the number of different tokens.
  public var vocabularySize: Int
  /// The largest number of tokens of one sequence.
  public var maximumLength: Int
  /// D, the size of a hidden state.
  public var hiddenSize: Int
  /// The number of layers.
  public var layerCount: Int
  /// The number of heads of queries.
  public var headCount: Int
  /// The number of heads of keys and values, a divisor of that of queries, which share them.
  public var keyValueHeadCount: Int
  /// The size of one head.
  public var headSize: Int
  /// The size of the gated layer.
  public var intermediateSize: Int
  /// What root-mean-square normalisation adds to the mean of squares.
  public var normEpsilon: Float
  /// The base of the wavelengths of positions.
  public var ropeBase: Float
  /// How positions beyond those of the pretraining are brought into its range.
  public var ropeScaling: RoPEScaling
  /// Whether the projections of the attention have biases.
  public var attentionHasBias: Bool
  /// Whether the feed-forward layers have biases.
  public var feedForwardHasBias: Bool
  /// Whether the table of words is the output layer too.
  public var tiesEmbeddings: Bool
  /// The tokens that end a text.
  public var endTokens: Set<Int32>

  /// Sizes by hand.
  public init(
    vocabularySize: Int = 32000, maximumLength: Int = 2048, hiddenSize: Int, layerCount: Int,
    headCount: Int, keyValueHeadCount: Int? = nil, headSize: Int? = nil, intermediateSize: Int,
    normEpsilon: Float = 1e-6, ropeBase: Float = 10000, ropeScaling: RoPEScaling = .none,
    attentionHasBias: Bool = false, feedForwardHasBias: Bool = false, tiesEmbeddings: Bool = false,
    endTokens: Set<Int32> = []
  ) {
    self.vocabularySize = vocabularySize
    self.maximumLength = maximumLength
    self.hiddenSize = hiddenSize
    self.layerCount = layerCount
    self.headCount = headCount
    self.keyValueHeadCount = keyValueHeadCount ?? headCount
    self.headSize = headSize ?? hiddenSize / max(1, headCount)
    self.intermediateSize = intermediateSize
    self.normEpsilon = normEpsilon
    self.ropeBase = ropeBase
    self.ropeScaling = ropeScaling
    self.attentionHasBias = attentionHasBias
    self.feedForwardHasBias = feedForwardHasBias
    self.tiesEmbeddings = tiesEmbeddings
    self.endTokens = endTokens
  }

  /// The shape of TinyLlama: 1.1 billion parameters, 32 heads that share 4 of keys and values.
  ///
  /// Source: Zhang, Zeng, Wang, Lu, "TinyLlama", 2024, table 1.
  public static let tinyLlama = LlamaConfiguration(
    hiddenSize: 2048, layerCount: 22, headCount: 32, keyValueHeadCount: 4, intermediateSize: 5632,
    normEpsilon: 1e-5)

  /// Reads `config.json`; what would need another model throws.
  package init(_ file: ConfigurationFile) throws {
    let activation = try file.string("hidden_act", default: "silu")
    guard activation == "silu" else {
      throw CheckpointError.unsupported(
        file: file.path, key: "hidden_act", expected: "silu", got: "\"\(activation)\"")
    }
    let hiddenSize = try file.integer("hidden_size")
    let headCount = try file.integer("num_attention_heads")
    if file.object["head_dim"] == nil {
      try file.requireDivisor("num_attention_heads", headCount, of: "hidden_size", hiddenSize)
    }
    self.init(
      vocabularySize: try file.integer("vocab_size"),
      maximumLength: try file.integer("max_position_embeddings"), hiddenSize: hiddenSize,
      layerCount: try file.integer("num_hidden_layers", in: 1...10_000), headCount: headCount,
      keyValueHeadCount: try file.integer("num_key_value_heads", default: headCount),
      headSize: try file.integer("head_dim", default: hiddenSize / headCount),
      intermediateSize: try file.integer("intermediate_size"),
      normEpsilon: Float(try file.positiveNumber("rms_norm_eps", default: 1e-6)),
      ropeBase: try LlamaConfiguration.ropeBase(file), ropeScaling: try RoPEScaling(file),
      attentionHasBias: try file.bool("attention_bias", default: false),
      feedForwardHasBias: try file.bool("mlp_bias", default: false),
      tiesEmbeddings: try file.bool("tie_word_embeddings", default: false),
      endTokens: try file.tokens("eos_token_id"))
    try file.requireDivisor(
      "num_key_value_heads", keyValueHeadCount, of: "num_attention_heads", headCount)
    guard headSize % 2 == 0 else {
      throw CheckpointError.illTyped(
        file: file.path, key: "head_dim", expected: "an even size", got: "\(headSize)")
    }
  }

  /// The base, from where transformers keeps it since version 5 or from where it did before.
  private static func ropeBase(_ file: ConfigurationFile) throws -> Float {
    for key in RoPEScaling.keys {
      if let section = try file.section(key), section.object["rope_theta"] != nil {
        return Float(try section.positiveNumber("rope_theta"))
      }
    }
    return Float(try file.positiveNumber("rope_theta", default: 10000))
  }

  /// The text of a `config.json`, with the base where old and new readers look for it.
  var text: String {
    let sizes = JSON.object([
      "architectures": .array([.string("LlamaForCausalLM")]),
      "model_type": .string(LlamaModel.modelType), "vocab_size": .integer(vocabularySize),
      "max_position_embeddings": .integer(maximumLength), "hidden_size": .integer(hiddenSize),
      "num_hidden_layers": .integer(layerCount), "num_attention_heads": .integer(headCount),
      "num_key_value_heads": .integer(keyValueHeadCount), "head_dim": .integer(headSize),
      "intermediate_size": .integer(intermediateSize), "hidden_act": .string("silu"),
      "rms_norm_eps": .number("\(normEpsilon)"), "rope_theta": .number("\(ropeBase)"),
      "rope_parameters": .object(ropeScaling.object(base: ropeBase)),
      "attention_bias": .bool(attentionHasBias), "mlp_bias": .bool(feedForwardHasBias),
      "tie_word_embeddings": .bool(tiesEmbeddings), "eos_token_id": tokenList(endTokens),
    ])
    guard ropeScaling != .none, var object = sizes.object else { return sizes.encoded(indent: 2) }
    // Where readers before version 5 of transformers look for it.
    object["rope_scaling"] = .object(ropeScaling.object(base: ropeBase))
    return JSON.object(object).encoded(indent: 2)
  }
}
