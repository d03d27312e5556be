import MLX

/// A BERT encoder and the folder that it came from.
public typealias BERTCheckpoint = ModelCheckpoint<BERTModel>

extension BERTModel: CheckpointModel {
  /// `bert`.
  public static var modelType: String { "bert" }
  /// The table of words.
  public static var anchor: String? { "embeddings.word_embeddings.weight" }

  /// A model of zeros with the sizes of a folder, and with the pooler if the folder has it.
  public convenience init(folder: CheckpointFolder, prefix: String) throws {
    self.init(
      try BERTConfiguration(folder.configuration),
      hasPooler: folder.tensorNames.contains { $0.hasPrefix(prefix + "pooler.") })
  }

  /// The name in checkpoints that were converted from the first TensorFlow release.
  public static func oldName(_ name: String) -> String {
    name.replacing("LayerNorm.weight", with: "LayerNorm.gamma")
      .replacing("LayerNorm.bias", with: "LayerNorm.beta")
  }

  /// The sizes under the names of the format.
  public var configurationText: String {
    JSON.object([
      "architectures": .array([.string("BertModel")]), "model_type": .string(Self.modelType),
      "vocab_size": .integer(configuration.vocabularySize),
      "hidden_size": .integer(configuration.hiddenSize),
      "num_hidden_layers": .integer(configuration.layerCount),
      "num_attention_heads": .integer(configuration.headCount),
      "intermediate_size": .integer(configuration.intermediateSize),
      "max_position_embeddings": .integer(configuration.maximumLength),
      "type_vocab_size": .integer(configuration.tokenTypeCount),
      "layer_norm_eps": .number("\(configuration.layerNormEpsilon)"),
      "hidden_act": .string(configuration.activation.rawValue),
    ]).encoded(indent: 2)
  }
}
