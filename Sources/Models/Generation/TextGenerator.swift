import FoundationEssentials
import MLX
import MLXNN

/// A causal language model with its tokenizer: text → its continuation.
public final class TextGenerator {
  /// A text and how it goes on.
  public struct Continuation: Codable, Hashable, Sendable {
    /// The text that was given.
    public var prompt: String
    /// The tokens that the model added.
    public var tokens: [Int32]
    /// The prompt and what was added, as the tokenizer writes it.
    public var text: String
    /// The time that the model took, in seconds, without the tokenizer.
    public var seconds: Double
  }

  /// The model.
  public let model: any LanguageModel
  /// The tokenizer of the folder.
  public let tokenizer: Tokenizer

  /// Loads a folder.
  ///
  /// Throws ``GenerationError`` if it holds another kind of model, ``CheckpointError``, and what
  /// the factory throws.
  public init(
    folder: URL, structuredLayers: StructuredLayerFactory = .none, dtype: DType = .float32,
    python: PythonInterpreter? = nil
  ) throws {
    let files = try CheckpointFolder(url: folder)
    let checkpoint = try ModelRegistry.load(
      files, structuredLayers: structuredLayers, dtype: dtype)
    guard let model = checkpoint.module as? any LanguageModel else {
      throw GenerationError.notALanguageModel(
        modelType: type(of: checkpoint.module).modelType)
    }
    model.train(false)
    self.model = model
    // No text is cut short: one that is too long is an error, and the model says so.
    tokenizer = try Tokenizer(folder: folder, maximumLength: 1 << 24, python: python)
  }

  /// Continues a text by up to `count` tokens, fewer if the model ends it.
  ///
  /// Throws ``GenerationError``, ``TokenInputError``, ``PythonInterpreter/PythonError``, or what
  /// `each` throws.
  public func callAsFunction(
    _ prompt: String, count: Int, sampling: Sampling = .greedy,
    each: (Int32) throws -> Void = { _ in }
  ) throws -> Continuation {
    let start = try tokenizer.tokens(of: [prompt])[0]
    var tokens: [Int32] = []
    let duration = try ContinuousClock().measure {
      tokens = try model.generate(
        prompt: start, count: count, sampling: sampling, stopping: model.endTokens, each: each)
    }
    return Continuation(
      prompt: prompt, tokens: tokens, text: try tokenizer.text(of: [start + tokens])[0],
      seconds: duration / .seconds(1))
  }
}
