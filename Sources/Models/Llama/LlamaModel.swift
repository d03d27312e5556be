import Kernels
import Layers
import MLX
import MLXNN

/// Llama: a causal language model with rotary positions, grouped queries and a gated feed-forward
/// layer.
///
/// Paths of parameters are the names of the tensors in a checkpoint.
///
/// Sources: Touvron et al., "Llama 2: open foundation and fine-tuned chat models", 2023, section 2;
/// Ainslie et al., "GQA", 2023; Shazeer, "GLU variants improve transformer", 2020; details as in
/// Hugging Face transformers.
public final class LlamaModel: Module, CausalTransformer {
  @ModuleInfo var model: LlamaStack
  /// The output layer D → V, `nil` where the table of words is it.
  @ModuleInfo(key: "lm_head") var head: (any UnaryLayer)?

  /// The sizes.
  public let configuration: LlamaConfiguration

  /// A model whose weights are all zero, to be loaded or initialised.
  public init(_ configuration: LlamaConfiguration) {
    self.configuration = configuration
    _model.wrappedValue = LlamaStack(configuration)
    _head.wrappedValue =
      configuration.tiesEmbeddings
      ? nil : Linear.zeros(configuration.hiddenSize, configuration.vocabularySize, bias: false)
  }

  /// The normalised hidden states [B, T, D] of tokens [B, T].
  public func hiddenStates(tokens: MLXArray, cache: KeyValueCache? = nil) -> MLXArray {
    model(tokens, cache: cache)
  }

  /// The logits [..., V] of normalised hidden states [..., D].
  public func logits(ofHidden hidden: MLXArray) -> MLXArray {
    head?(hidden) ?? model.words.asLinear(hidden)
  }
}

extension LlamaModel {
  /// `llama`.
  public static var modelType: String { "llama" }
  /// `model.`.
  public static var pathPrefix: String { "model." }
  /// The table of words.
  public static var anchor: String? { "model.embed_tokens.weight" }

  /// A model of zeros with the sizes of a folder.
  public convenience init(folder: CheckpointFolder, prefix: String) throws {
    self.init(try LlamaConfiguration(folder.configuration))
  }

  /// The sizes under the names of the format.
  public var configurationText: String { configuration.text }
}

/// The embeddings of words, the layers, and a last normalisation.
final class LlamaStack: Module {
  @ModuleInfo(key: "embed_tokens") var words: Embedding
  @ModuleInfo var layers: [LlamaLayer]
  @ModuleInfo var norm: RMSNorm

  init(_ configuration: LlamaConfiguration) {
    _words.wrappedValue = .zeros(configuration.vocabularySize, configuration.hiddenSize)
    _layers.wrappedValue = (0..<configuration.layerCount).map { _ in LlamaLayer(configuration) }
    _norm.wrappedValue = RMSNorm(
      dimensions: configuration.hiddenSize, eps: configuration.normEpsilon)
  }

  /// Tokens [B, T] → [B, T, D].
  func callAsFunction(_ tokens: MLXArray, cache: KeyValueCache?) -> MLXArray {
    var x = words(tokens)
    for (index, layer) in layers.enumerated() { x = layer(x, cache: cache?.layers[index]) }
    return norm(x)
  }
}

/// Attention, then the feed-forward layer, each normalised before and added to its input.
final class LlamaLayer: Module {
  @ModuleInfo(key: "input_layernorm") var attentionNorm: RMSNorm
  @ModuleInfo(key: "self_attn") var attention: LlamaAttention
  @ModuleInfo(key: "post_attention_layernorm") var feedForwardNorm: RMSNorm
  @ModuleInfo(key: "mlp") var feedForward: LlamaFeedForward

  init(_ configuration: LlamaConfiguration) {
    let norm = { RMSNorm(dimensions: configuration.hiddenSize, eps: configuration.normEpsilon) }
    _attentionNorm.wrappedValue = norm()
    _attention.wrappedValue = LlamaAttention(configuration)
    _feedForwardNorm.wrappedValue = norm()
    _feedForward.wrappedValue = LlamaFeedForward(configuration)
  }

  func callAsFunction(_ x: MLXArray, cache: KeyValueCache.Layer?) -> MLXArray {
    let attended = x + attention(attentionNorm(x), cache: cache)
    return attended + feedForward(feedForwardNorm(attended))
  }
}

/// Attention whose queries and keys are turned by their positions; several heads of queries share
/// one of keys and values.
final class LlamaAttention: Module {
  @ModuleInfo(key: "q_proj") var query: any UnaryLayer
  @ModuleInfo(key: "k_proj") var key: any UnaryLayer
  @ModuleInfo(key: "v_proj") var value: any UnaryLayer
  @ModuleInfo(key: "o_proj") var output: any UnaryLayer
  private let headCount: Int
  private let keyValueHeadCount: Int
  private let rope: RoPE

  init(_ configuration: LlamaConfiguration) {
    headCount = configuration.headCount
    keyValueHeadCount = configuration.keyValueHeadCount
    rope = configuration.ropeScaling.makeRoPE(
      dimensions: configuration.headSize, base: configuration.ropeBase)
    let (hidden, bias) = (configuration.hiddenSize, configuration.attentionHasBias)
    let queries = headCount * configuration.headSize
    let keys = keyValueHeadCount * configuration.headSize
    _query.wrappedValue = Linear.zeros(hidden, queries, bias: bias)
    _key.wrappedValue = Linear.zeros(hidden, keys, bias: bias)
    _value.wrappedValue = Linear.zeros(hidden, keys, bias: bias)
    _output.wrappedValue = Linear.zeros(queries, hidden, bias: bias)
  }

  func callAsFunction(_ x: MLXArray, cache: KeyValueCache.Layer?) -> MLXArray {
    let start = cache?.length ?? 0
    let projected = outputs(of: [query, key, value], reading: x)
    let queries = rope(heads(projected[0], headCount), offset: start)
    let keys = rope(heads(projected[1], keyValueHeadCount), offset: start)
    let values = heads(projected[2], keyValueHeadCount)
    return output(causalAttention(queries, keys, values, cache: cache))
  }
}

/// W₃ (silu(W₁ x) ⊙ W₂ x), known as SwiGLU.
final class LlamaFeedForward: Module {
  @ModuleInfo(key: "gate_proj") var gate: any UnaryLayer
  @ModuleInfo(key: "up_proj") var up: any UnaryLayer
  @ModuleInfo(key: "down_proj") var down: any UnaryLayer

  init(_ configuration: LlamaConfiguration) {
    let (hidden, inner) = (configuration.hiddenSize, configuration.intermediateSize)
    let bias = configuration.feedForwardHasBias
    _gate.wrappedValue = Linear.zeros(hidden, inner, bias: bias)
    _up.wrappedValue = Linear.zeros(hidden, inner, bias: bias)
    _down.wrappedValue = Linear.zeros(inner, hidden, bias: bias)
  }

  func callAsFunction(_ x: MLXArray) -> MLXArray {
    let inner = outputs(of: [(gate, .silu), (up, .none)], reading: x)
    return down(inner[0] * inner[1])
  }
}
