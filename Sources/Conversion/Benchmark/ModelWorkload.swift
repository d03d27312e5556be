import FoundationEssentials
import MLX
import MLXNN
import Models

/// A model as the command names it: a Hugging Face folder, or a shape with random weights.
public enum ModelSource: Hashable, Sendable, CustomStringConvertible {
  /// A folder.
  case folder(URL)
  /// A published shape.
  case shape(ModelShape)

  /// The shape of that name, or else a folder.
  public init(_ text: String) {
    self = ModelShape(rawValue: text).map { .shape($0) } ?? .folder(URL(filePath: text))
  }

  /// The shape's name, or the folder's.
  public var description: String {
    switch self {
    case .folder(let url): url.standardizedFileURL.lastPathComponent
    case .shape(let shape): shape.rawValue
    }
  }

  /// The model in an element type; a shape's weights are drawn.
  func load(dtype: DType) throws -> any CheckpointModel {
    switch self {
    case .folder(let url):
      return try ModelRegistry.load(
        CheckpointFolder(url: url), structuredLayers: .standard, dtype: dtype
      ).module
    case .shape(let shape):
      let model = shape.makeModel()
      try model.initialize(key: MLXRandom.key(0))
      return model
    }
  }
}

/// What a benchmark gives a model to do, on random data.
enum ModelWorkload {
  /// A batch for a model, and the function of one pass over it.
  ///
  /// A language model reads a prompt and gives the logits of the next token, a sentence encoder gives
  /// hidden states, a model of images logits. Throws a sentence for another family, or for sequences
  /// that it cannot take.
  static func make(
    for model: any CheckpointModel, batch: Int, tokens: Int, dtype: DType
  ) throws -> (input: MLXArray, pass: (MLXArray) -> MLXArray, units: ModelBenchmark.Units) {
    func drawn(_ vocabulary: Int, _ limit: Int) throws -> MLXArray {
      guard tokens <= limit else {
        throw ConversionError(
          "[bench model] expected at most \(limit) tokens a sequence, got \(tokens).")
      }
      let numbers = MLXRandom.uniform([batch, tokens], key: MLXRandom.key(1))
      return minimum(numbers * Double(vocabulary), Double(vocabulary - 1)).asType(.int32)
    }
    switch model {
    case let model as any LanguageModel:
      return (
        try drawn(model.vocabularySize, model.maximumLength),
        { model.nextLogits(tokens: $0, cache: nil) }, .tokens
      )
    case let model as BERTModel:
      return (
        try drawn(model.configuration.vocabularySize, model.configuration.maximumLength),
        { model.hiddenStates(tokens: $0) }, .tokens
      )
    case let model as any ImageClassifier:
      return (
        MLXRandom.normal([batch] + model.imageShape, key: MLXRandom.key(1)).asType(dtype),
        { model.logits(images: $0) }, .images
      )
    default:
      throw ConversionError(
        "[bench model] expected a language model, a sentence encoder or a model of images, got "
          + "model_type \"\(type(of: model).modelType)\".")
    }
  }
}
