import MLX

/// The families of models, found by `model_type` in `config.json`: the one place that lists them.
public enum ModelRegistry {
  /// Every family.
  public static let families: [any CheckpointModel.Type] = [
    BERTModel.self, GPT2Model.self, LlamaModel.self, MLPModel.self, ViTModel.self, T2TViTModel.self,
  ]

  /// Loads a folder of any family.
  ///
  /// Without `readingWeights` they stay zero: enough to look at sizes.
  ///
  /// Throws ``CheckpointError`` for another family, and what ``ModelCheckpoint`` throws.
  public static func load(
    _ folder: CheckpointFolder, structuredLayers factory: StructuredLayerFactory = .none,
    dtype: DType = .float32, readingWeights: Bool = true
  ) throws -> any Checkpoint {
    let type = try folder.configuration.string("model_type")
    guard let family = families.first(where: { $0.modelType == type }) else {
      throw CheckpointError.unsupported(
        file: folder.configuration.path, key: "model_type", expected: names(families),
        got: "\"\(type)\"")
    }
    func open<Model: CheckpointModel>(_: Model.Type) throws -> any Checkpoint {
      try ModelCheckpoint<Model>(
        folder: folder, structuredLayers: factory, dtype: dtype, readingWeights: readingWeights)
    }
    return try open(family)
  }

  /// The values of `model_type` that ``make(_:sizes:)`` knows.
  package static let newModelTypes = [
    MLPModel.modelType, ViTModel.modelType, T2TViTModel.modelType, GPT2Model.modelType,
    LlamaModel.modelType,
  ]

  /// A model of zeros with sizes under the names of `config.json`; `nil` for another type.
  ///
  /// Throws ``CheckpointError`` where a size is missing or wrong.
  package static func make(
    _ type: String, sizes: ConfigurationFile
  ) throws -> (any CheckpointModel)? {
    switch type {
    case MLPModel.modelType: MLPModel(try MLPConfiguration(sizes))
    case ViTModel.modelType: ViTModel(try ViTConfiguration(sizes), hasClassifier: true)
    case T2TViTModel.modelType: T2TViTModel(try T2TViTConfiguration(sizes))
    case GPT2Model.modelType: GPT2Model(try GPT2Configuration(sizes))
    case LlamaModel.modelType: LlamaModel(try LlamaConfiguration(sizes))
    default: nil
    }
  }

  /// The families that generate text, for messages.
  static var languageModelTypes: String { names(families.filter { $0 is any LanguageModel.Type }) }

  private static func names(_ families: [any CheckpointModel.Type]) -> String {
    families.map { $0.modelType }.joined(separator: ", ")
  }
}
