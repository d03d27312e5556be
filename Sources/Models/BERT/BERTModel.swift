import Layers
import MLX
import MLXNN

/// A BERT encoder: tokens → one hidden state a token.
///
/// Every dense layer is declared as `any UnaryLayer`, so that whatever computes the same from
/// [..., K] to [..., N] can take its place. Paths of parameters are the names of the tensors in a
/// checkpoint. The dropout of pretraining is left out: the model is used, and tuned, without.
///
/// Source: Devlin, Chang, Lee, Toutanova, "BERT: pre-training of deep bidirectional transformers for
/// language understanding", 2019; details as in Hugging Face transformers.
public final class BERTModel: Module {
  @ModuleInfo var embeddings: BERTEmbeddings
  @ModuleInfo var encoder: BERTEncoder
  @ModuleInfo var pooler: BERTPooler?

  /// The sizes.
  public let configuration: BERTConfiguration

  /// A model whose weights are all zero, to be loaded; with or without the pooler.
  public init(_ configuration: BERTConfiguration, hasPooler: Bool = true) {
    self.configuration = configuration
    _embeddings.wrappedValue = BERTEmbeddings(configuration)
    _encoder.wrappedValue = BERTEncoder(configuration)
    _pooler.wrappedValue = hasPooler ? BERTPooler(size: configuration.hiddenSize) : nil
  }

  /// The last hidden states [B, T, D] for tokens [B, T].
  ///
  /// Throws if a token, a type or the length is outside the model's tables. Cost a row: the dense
  /// layers' products, and 2·T·D multiply-adds of attention a layer.
  public func callAsFunction(_ input: BERTInput) throws -> MLXArray {
    try input.check(configuration)
    return hiddenStates(
      tokens: input.tokenArray, tokenTypes: input.tokenTypeArray, mask: input.maskArray)
  }

  /// The last hidden states [B, T, D] for arrays that have been checked: tokens and token types
  /// [B, T] below the sizes of their tables, and a `bool` mask [B, T] that hides no sequence
  /// wholly.
  ///
  /// This is the part that `compile` and `valueAndGrad` can go through.
  public func hiddenStates(
    tokens: MLXArray, tokenTypes: MLXArray? = nil, mask: MLXArray? = nil
  ) -> MLXArray {
    let attentionMask = mask.map { $0.expandedDimensions(axes: [1, 2]) }
    return encoder(embeddings(tokens, tokenTypes: tokenTypes), mask: attentionMask)
  }

  /// The pooled output [B, D] for hidden states [B, T, D]: tanh(W h₀ + b), `nil` without pooler.
  public func pooled(_ hidden: MLXArray) -> MLXArray? {
    pooler?(hidden)
  }
}

/// The sum of three embeddings (word, position, token type), normalised.
final class BERTEmbeddings: Module {
  @ModuleInfo(key: "word_embeddings") var words: Embedding
  @ModuleInfo(key: "position_embeddings") var positions: Embedding
  @ModuleInfo(key: "token_type_embeddings") var tokenTypes: Embedding
  @ModuleInfo(key: "LayerNorm") var norm: LayerNorm

  init(_ configuration: BERTConfiguration) {
    let table = { Embedding.zeros($0, configuration.hiddenSize) }
    _words.wrappedValue = table(configuration.vocabularySize)
    _positions.wrappedValue = table(configuration.maximumLength)
    _tokenTypes.wrappedValue = table(configuration.tokenTypeCount)
    _norm.wrappedValue = LayerNorm(
      dimensions: configuration.hiddenSize, eps: configuration.layerNormEpsilon)
  }

  func callAsFunction(_ tokens: MLXArray, tokenTypes types: MLXArray?) -> MLXArray {
    let types = types ?? MLXArray.zeros([1, 1], dtype: .int32)
    let sum = words(tokens) + tokenTypes(types) + positions.weight[0..<tokens.dim(1)]
    return norm(sum)
  }
}

final class BERTEncoder: Module {
  @ModuleInfo(key: "layer") var layers: [BERTLayer]

  init(_ configuration: BERTConfiguration) {
    _layers.wrappedValue = (0..<configuration.layerCount).map { _ in BERTLayer(configuration) }
  }

  func callAsFunction(_ x: MLXArray, mask: MLXArray?) -> MLXArray {
    layers.reduce(x) { $1($0, mask: mask) }
  }
}

/// Attention, then the feed-forward pair, each with its residual and normalised after it.
final class BERTLayer: Module {
  @ModuleInfo var attention: BERTAttention
  @ModuleInfo var intermediate: BERTIntermediate
  @ModuleInfo var output: BERTResidual

  init(_ configuration: BERTConfiguration) {
    _attention.wrappedValue = BERTAttention(configuration)
    _intermediate.wrappedValue = BERTIntermediate(configuration)
    _output.wrappedValue = BERTResidual(
      from: configuration.intermediateSize, configuration: configuration)
  }

  func callAsFunction(_ x: MLXArray, mask: MLXArray?) -> MLXArray {
    let attended = attention(x, mask: mask)
    return output(intermediate(attended), residual: attended)
  }
}

final class BERTAttention: Module {
  @ModuleInfo(key: "self") var attention: BERTSelfAttention
  @ModuleInfo var output: BERTResidual

  init(_ configuration: BERTConfiguration) {
    _attention.wrappedValue = BERTSelfAttention(configuration)
    _output.wrappedValue = BERTResidual(
      from: configuration.hiddenSize, configuration: configuration)
  }

  func callAsFunction(_ x: MLXArray, mask: MLXArray?) -> MLXArray {
    output(attention(x, mask: mask), residual: x)
  }
}

final class BERTSelfAttention: Module {
  @ModuleInfo var query: any UnaryLayer
  @ModuleInfo var key: any UnaryLayer
  @ModuleInfo var value: any UnaryLayer
  private let headCount: Int

  init(_ configuration: BERTConfiguration) {
    headCount = configuration.headCount
    let dense = { Linear.zeros(configuration.hiddenSize, configuration.hiddenSize) }
    _query.wrappedValue = dense()
    _key.wrappedValue = dense()
    _value.wrappedValue = dense()
  }

  /// [B, T, D] → [B, T, D], with a mask [B, 1, 1, T].
  func callAsFunction(_ x: MLXArray, mask: MLXArray?) -> MLXArray {
    let projected = outputs(of: [query, key, value], reading: x).map { heads($0, headCount) }
    return fullAttention(
      projected[0], projected[1], projected[2], mask: mask.map { .array($0) } ?? .none)
  }
}

final class BERTIntermediate: Module {
  @ModuleInfo var dense: any UnaryLayer
  private let activation: Activation

  init(_ configuration: BERTConfiguration) {
    activation = configuration.activation
    _dense.wrappedValue = Linear.zeros(configuration.hiddenSize, configuration.intermediateSize)
  }

  func callAsFunction(_ x: MLXArray) -> MLXArray { activation(after: dense, x) }
}

/// A dense layer whose output is added to the residual and normalised.
final class BERTResidual: Module {
  @ModuleInfo var dense: any UnaryLayer
  @ModuleInfo(key: "LayerNorm") var norm: LayerNorm

  init(from inputSize: Int, configuration: BERTConfiguration) {
    _dense.wrappedValue = Linear.zeros(inputSize, configuration.hiddenSize)
    _norm.wrappedValue = LayerNorm(
      dimensions: configuration.hiddenSize, eps: configuration.layerNormEpsilon)
  }

  func callAsFunction(_ x: MLXArray, residual: MLXArray) -> MLXArray { norm(dense(x) + residual) }
}

/// tanh(W h₀ + b) of the first token's hidden state.
final class BERTPooler: Module {
  @ModuleInfo var dense: any UnaryLayer

  init(size: Int) {
    _dense.wrappedValue = Linear.zeros(size, size)
  }

  func callAsFunction(_ hidden: MLXArray) -> MLXArray { tanh(dense.onFirstToken(hidden)) }
}
