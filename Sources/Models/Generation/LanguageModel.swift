import MLX
import Operators

/// A causal language model: tokens → the logits of the token after each.
public protocol LanguageModel: CheckpointModel {
  /// V, the number of different tokens.
  var vocabularySize: Int { get }
  /// The largest number of tokens of one sequence.
  var maximumLength: Int { get }
  /// The tokens that end a text.
  var endTokens: Set<Int32> { get }
  /// The number of layers that keep keys and values.
  var layerCount: Int { get }

  /// The logits [B, T, V] for tokens [B, T] that have been checked.
  ///
  /// With a cache the tokens follow those it holds, and join them. This is the part that `compile`
  /// and `valueAndGrad` can go through.
  func logits(tokens: MLXArray, cache: KeyValueCache?) -> MLXArray

  /// The logits [B, V] of the token after the last: the output layer's work for one token a sequence.
  func nextLogits(tokens: MLXArray, cache: KeyValueCache?) -> MLXArray
}

extension LanguageModel {
  /// Tokens up to and including its own.
  public static var tokenFlow: TokenFlow { .causal }

  /// The logits [B, T, V] for sequences of one length.
  ///
  /// Throws ``TokenInputError``.
  public func callAsFunction(_ tokens: [[Int32]]) throws -> MLXArray {
    try TokenInputError.check(
      tokens, vocabularySize: vocabularySize, maximumLength: maximumLength)
    return logits(tokens: matrix(tokens), cache: nil)
  }
}

/// How the next token is chosen.
public struct Sampling: Hashable, Sendable {
  /// What logits are divided by; 0 takes the most probable token.
  public var temperature: Float
  /// The seed of the random numbers: the same seed gives the same tokens.
  public var seed: UInt64

  /// A way of choosing.
  public init(temperature: Float = 1, seed: UInt64 = 0) {
    self.temperature = temperature
    self.seed = seed
  }

  /// The most probable token.
  public static let greedy = Sampling(temperature: 0)
}

/// What is wrong with a request to generate.
public enum GenerationError: Error, Hashable, Sendable, CustomStringConvertible {
  /// A temperature that is negative or no number.
  case temperature(Float)
  /// A number of tokens below 1.
  case count(Int)
  /// Prompt and continuation do not fit into the model.
  case tooLong(prompt: Int, count: Int, limit: Int)
  /// A model that is no causal language model.
  case notALanguageModel(modelType: String)

  /// The sentence.
  public var description: String {
    switch self {
    case .temperature(let value):
      "[generate] expected a temperature of 0 or more, got \(value)."
    case .count(let count): "[generate] expected to generate 1 token or more, got \(count)."
    case .tooLong(let prompt, let count, let limit):
      "[generate] expected at most \(limit) tokens in all, got \(prompt) of the prompt and "
        + "\(count) to generate; shorten one of them."
    case .notALanguageModel(let type):
      "[generate] expected a causal language model (\(ModelRegistry.languageModelTypes)), "
        + "got model_type \"\(type)\"."
    }
  }
}

extension LanguageModel {
  /// Continues a prompt by up to `count` tokens, fewer if one of `stopping` comes (which is left
  /// out).
  ///
  /// `each` sees every token as it comes, and may throw to end the work. Cost: the prompt goes
  /// through the model once, then one row for each token.
  ///
  /// Throws ``GenerationError``, ``TokenInputError``, or what `each` throws.
  public func generate(
    prompt: [Int32], count: Int, sampling: Sampling = .greedy, stopping: Set<Int32> = [],
    each: (Int32) throws -> Void = { _ in }
  ) throws -> [Int32] {
    guard sampling.temperature >= 0, sampling.temperature.isFinite else {
      throw GenerationError.temperature(sampling.temperature)
    }
    guard count > 0 else { throw GenerationError.count(count) }
    guard count <= maximumLength, prompt.count <= maximumLength - count else {
      throw GenerationError.tooLong(prompt: prompt.count, count: count, limit: maximumLength)
    }
    try TokenInputError.check(
      [prompt], vocabularySize: vocabularySize, maximumLength: maximumLength)
    let cache = KeyValueCache(layerCount: layerCount)
    var key = MLXRandom.key(sampling.seed)
    var input = prompt
    var result: [Int32] = []
    while result.count < count {
      let last = nextLogits(tokens: matrix([input]), cache: cache)[0]
      let (next, now) = MLXRandom.split(key: key)
      key = next
      let token = try sampling.choose(last, key: now).item(Int32.self)
      if stopping.contains(token) { break }
      result.append(token)
      try each(token)
      input = [token]
    }
    return result
  }
}

extension Sampling {
  /// A token by its logits [V].
  func choose(_ logits: MLXArray, key: MLXArray) -> MLXArray {
    guard temperature > 0 else { return logits.argMax(axis: -1) }
    return MLXRandom.categorical(logits.asType(.float32) / temperature, key: key)
  }
}
