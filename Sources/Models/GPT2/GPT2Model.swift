import MLX
import MLXNN

/// GPT-2: a causal language model.
///
/// Paths of parameters are the names of the tensors in a checkpoint. The format keeps the weights of
/// linear layers as [K, N]; the model holds them as [N, K], as everywhere else. The dropout of
/// pretraining is left out.
///
/// Source: Radford, Wu, Child, Luan, Amodei, Sutskever, "Language models are unsupervised multitask
/// learners", 2019; details as in Hugging Face transformers.
public final class GPT2Model: Module, CausalTransformer {
  @ModuleInfo var transformer: GPT2Transformer
  /// The output layer D → V, `nil` where the table of words is it.
  @ModuleInfo(key: "lm_head") var head: (any UnaryLayer)?

  /// The sizes.
  public let configuration: GPT2Configuration

  /// A model whose weights are all zero, to be loaded or initialised.
  public init(_ configuration: GPT2Configuration) {
    self.configuration = configuration
    _transformer.wrappedValue = GPT2Transformer(configuration)
    _head.wrappedValue =
      configuration.tiesEmbeddings
      ? nil : Linear.zeros(configuration.hiddenSize, configuration.vocabularySize, bias: false)
  }

  /// The normalised hidden states [B, T, D] of tokens [B, T].
  public func hiddenStates(tokens: MLXArray, cache: KeyValueCache? = nil) -> MLXArray {
    transformer(tokens, cache: cache)
  }

  /// The logits [..., V] of normalised hidden states [..., D].
  public func logits(ofHidden hidden: MLXArray) -> MLXArray {
    head?(hidden) ?? transformer.words.asLinear(hidden)
  }
}

extension GPT2Model {
  /// `gpt2`.
  public static var modelType: String { "gpt2" }
  /// `transformer.`.
  public static var pathPrefix: String { "transformer." }
  /// The table of words.
  public static var anchor: String? { "transformer.wte.weight" }

  /// A model of zeros with the sizes of a folder.
  public convenience init(folder: CheckpointFolder, prefix: String) throws {
    self.init(try GPT2Configuration(folder.configuration))
  }

  /// The sizes under the names of the format.
  public var configurationText: String { configuration.text }

  /// Layers that add to the residual start smaller, by the root of their number, 2 a layer.
  ///
  /// Source: Radford et al., 2019, section 2.3.
  public func initialDeviation(of path: String, inputs: Int) -> Double {
    path.hasSuffix("c_proj") ? 0.02 / Double(2 * configuration.layerCount).squareRoot() : 0.02
  }

  /// The dense layers of the stack are stored as [K, N].
  public func layout(of path: String) -> TensorLayout {
    let parts = path.split(separator: ".").suffix(2)
    return parts.last == "weight" && parts.first?.hasPrefix("c_") == true ? .transposed : .same
  }
}

/// The embeddings of words and positions, the layers, and a last normalisation.
final class GPT2Transformer: Module {
  @ModuleInfo(key: "wte") var words: Embedding
  @ModuleInfo(key: "wpe") var positions: Embedding
  @ModuleInfo(key: "h") var layers: [GPT2Layer]
  @ModuleInfo(key: "ln_f") var norm: LayerNorm

  init(_ configuration: GPT2Configuration) {
    _words.wrappedValue = .zeros(configuration.vocabularySize, configuration.hiddenSize)
    _positions.wrappedValue = .zeros(configuration.maximumLength, configuration.hiddenSize)
    _layers.wrappedValue = (0..<configuration.layerCount).map { _ in GPT2Layer(configuration) }
    _norm.wrappedValue = LayerNorm(
      dimensions: configuration.hiddenSize, eps: configuration.layerNormEpsilon)
  }

  /// Tokens [B, T] → [B, T, D].
  func callAsFunction(_ tokens: MLXArray, cache: KeyValueCache?) -> MLXArray {
    var x = embedded(tokens, start: cache?.length ?? 0)
    for (index, layer) in layers.enumerated() { x = layer(x, cache: cache?.layers[index]) }
    return norm(x)
  }

  /// Words and positions of tokens [B, T] that follow `start` others: [B, T, D].
  func embedded(_ tokens: MLXArray, start: Int) -> MLXArray {
    words(tokens) + positions.weight[start..<(start + tokens.dim(1))]
  }
}

/// Attention, then the feed-forward pair, each normalised before and added to its input.
final class GPT2Layer: Module {
  @ModuleInfo(key: "ln_1") var attentionNorm: LayerNorm
  @ModuleInfo(key: "attn") var attention: GPT2Attention
  @ModuleInfo(key: "ln_2") var feedForwardNorm: LayerNorm
  @ModuleInfo(key: "mlp") var feedForward: GPT2FeedForward

  init(_ configuration: GPT2Configuration) {
    let norm = {
      LayerNorm(dimensions: configuration.hiddenSize, eps: configuration.layerNormEpsilon)
    }
    _attentionNorm.wrappedValue = norm()
    _attention.wrappedValue = GPT2Attention(configuration)
    _feedForwardNorm.wrappedValue = norm()
    _feedForward.wrappedValue = GPT2FeedForward(configuration)
  }

  func callAsFunction(_ x: MLXArray, cache: KeyValueCache.Layer?) -> MLXArray {
    let attended = x + attention(attentionNorm(x), cache: cache)
    return attended + feedForward(feedForwardNorm(attended))
  }
}

final class GPT2Attention: Module {
  /// Queries, keys and values in one product D → 3 D.
  @ModuleInfo(key: "c_attn") var input: any UnaryLayer
  @ModuleInfo(key: "c_proj") var output: any UnaryLayer
  private let headCount: Int

  init(_ configuration: GPT2Configuration) {
    headCount = configuration.headCount
    _input.wrappedValue = Linear.zeros(configuration.hiddenSize, 3 * configuration.hiddenSize)
    _output.wrappedValue = Linear.zeros(configuration.hiddenSize, configuration.hiddenSize)
  }

  func callAsFunction(_ x: MLXArray, cache: KeyValueCache.Layer?) -> MLXArray {
    let parts = input(x).split(parts: 3, axis: -1).map { heads($0, headCount) }
    return output(causalAttention(parts[0], parts[1], parts[2], cache: cache))
  }
}

final class GPT2FeedForward: Module {
  @ModuleInfo(key: "c_fc") var input: any UnaryLayer
  @ModuleInfo(key: "c_proj") var output: any UnaryLayer
  private let activation: Activation

  init(_ configuration: GPT2Configuration) {
    activation = configuration.activation
    _input.wrappedValue = Linear.zeros(configuration.hiddenSize, configuration.intermediateSize)
    _output.wrappedValue = Linear.zeros(configuration.intermediateSize, configuration.hiddenSize)
  }

  func callAsFunction(_ x: MLXArray) -> MLXArray { output(activation(input(x))) }
}
