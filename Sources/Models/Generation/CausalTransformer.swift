import MLX
import MLXNN

/// The sizes that every causal transformer has.
public protocol CausalTransformerConfiguration: Hashable, Sendable {
  /// V, the number of different tokens.
  var vocabularySize: Int { get }
  /// The largest number of tokens of one sequence.
  var maximumLength: Int { get }
  /// The number of layers.
  var layerCount: Int { get }
  /// Whether the table of words is the output layer too.
  var tiesEmbeddings: Bool { get }
  /// The tokens that end a text.
  var endTokens: Set<Int32> { get }
}

/// A language model of embeddings, a stack of layers, a last normalisation, and an output layer that
/// may be the table of words.
public protocol CausalTransformer: LanguageModel, StagedModel {
  /// The family's sizes.
  associatedtype Configuration: CausalTransformerConfiguration

  /// The sizes.
  var configuration: Configuration { get }

  /// The normalised hidden states [B, T, D] of tokens [B, T] that have been checked; with a cache the
  /// tokens follow those it holds.
  func hiddenStates(tokens: MLXArray, cache: KeyValueCache?) -> MLXArray

  /// The logits [..., V] of normalised hidden states [..., D].
  func logits(ofHidden hidden: MLXArray) -> MLXArray
}

extension CausalTransformer {
  /// V, the number of different tokens.
  public var vocabularySize: Int { configuration.vocabularySize }
  /// The largest number of tokens of one sequence.
  public var maximumLength: Int { configuration.maximumLength }
  /// The tokens that end a text.
  public var endTokens: Set<Int32> { configuration.endTokens }
  /// The number of layers.
  public var layerCount: Int { configuration.layerCount }
  /// A tied output layer.
  public var derivedNames: Set<String> { configuration.tiesEmbeddings ? ["lm_head.weight"] : [] }

  /// The embeddings, the layers, the logits.
  public var stageCount: Int { layerCount + 2 }
  /// The layers.
  public var stack: Range<Int> { 1..<layerCount + 1 }
  /// One token.
  public var placeholder: MLXArray { .zeros([1, 1], dtype: .int32) }

  /// The logits [B, T, V] for tokens [B, T] that have been checked.
  public func logits(tokens: MLXArray, cache: KeyValueCache? = nil) -> MLXArray {
    logits(ofHidden: hiddenStates(tokens: tokens, cache: cache))
  }

  /// The logits [B, V] of the token after the last.
  public func nextLogits(tokens: MLXArray, cache: KeyValueCache? = nil) -> MLXArray {
    logits(ofHidden: hiddenStates(tokens: tokens, cache: cache)[0..., -1])
  }
}
