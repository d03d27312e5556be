import MLX
import MLXNN
import OrderedCollections

/// T2T-ViT: an image, turned to tokens by soft splits and a performer's attention → the logits of
/// the classes.
///
/// Parameters are named as in the authors' release. Dropout is left out.
///
/// Source: Yuan et al., "Tokens-to-Token ViT: training vision transformers from scratch on ImageNet",
/// 2021, section 3.
public final class T2TViTModel: Module, ImageClassifier {
  @ParameterInfo(key: "cls_token") var classToken: MLXArray
  /// Sines and cosines [1, 1 + tokens, D], which are not trained.
  @ParameterInfo(key: "pos_embed") var positions: MLXArray
  @ModuleInfo(key: "tokens_to_token") var tokens: TokensToToken
  @ModuleInfo(key: "blocks") var layers: [T2TViTLayer]
  @ModuleInfo var norm: LayerNorm
  @ModuleInfo var head: any UnaryLayer

  /// The sizes.
  public let configuration: T2TViTConfiguration

  /// A model whose trained weights are all zero, to be loaded or initialised.
  public init(_ configuration: T2TViTConfiguration) {
    self.configuration = configuration
    let hidden = configuration.hiddenSize
    _classToken.wrappedValue = MLXArray.zeros([1, 1, hidden])
    _positions.wrappedValue = sinusoids(1 + configuration.tokenCount, hidden)
    _tokens.wrappedValue = TokensToToken(configuration)
    _layers.wrappedValue = (0..<configuration.layerCount).map { _ in T2TViTLayer(configuration) }
    _norm.wrappedValue = LayerNorm(dimensions: hidden, eps: configuration.layerNormEpsilon)
    _head.wrappedValue = Linear.zeros(hidden, configuration.classCount)
    super.init()
    do {
      try freeze(keys: ["pos_embed", "w"])
    } catch {
      preconditionFailure("\(error)")
    }
  }

  /// The height, width and number of channels of an image.
  public var imageShape: [Int] {
    [configuration.imageSize, configuration.imageSize, configuration.channelCount]
  }
  /// The number of classes.
  public var classCount: Int { configuration.classCount }

  /// The last hidden states [B, 1 + tokens, D], the first that of the class token, for images
  /// [B, height, width, channels] that have been checked.
  public func hiddenStates(images: MLXArray) -> MLXArray {
    norm(layers.reduce(embedded(tokens(images))) { $1($0) })
  }

  /// The class token before tokens [B, tokens, D], each with its position: [B, 1 + tokens, D].
  func embedded(_ seen: MLXArray) -> MLXArray {
    let first = broadcast(classToken, to: [seen.dim(0), 1, classToken.dim(2)])
    return concatenated([first.asType(seen.dtype), seen], axis: 1) + positions
  }

  /// The logits [B, classes] for images [B, height, width, channels] that have been checked.
  public func logits(images: MLXArray) -> MLXArray {
    head.onFirstToken(hiddenStates(images: images))
  }
}

extension T2TViTModel: CheckpointModel {
  /// `t2t_vit`.
  public static var modelType: String { "t2t_vit" }
  /// The class token.
  public static var anchor: String? { "cls_token" }

  /// A model of zeros with the sizes of a folder.
  public convenience init(folder: CheckpointFolder, prefix: String) throws {
    self.init(try T2TViTConfiguration(folder.configuration))
  }

  /// The class token, and for each performer m directions of length √m, orthogonal as far as there
  /// is room.
  public func initialValues(key: MLXArray) -> ModuleParameters {
    let keys = MLXRandom.split(key: key, into: 3)
    let (count, size) = (configuration.featureCount, configuration.tokenSize)
    func directions(_ key: MLXArray) -> MLXArray {
      let isTall = count > size
      let random = MLXRandom.normal(isTall ? [count, size] : [size, count], key: key)
      let orthonormal = MLXLinalg.qr(random).0
      return (isTall ? orthonormal : orthonormal.T) * Double(count).squareRoot()
    }
    return [
      "cls_token": MLXRandom.normal([1, 1, configuration.hiddenSize], scale: 0.02, key: keys[0]),
      "tokens_to_token.attention1.w": directions(keys[1]),
      "tokens_to_token.attention2.w": directions(keys[2]),
    ]
  }

  /// The sizes.
  public var configurationText: String { configuration.text }
}

/// Three soft splits, the first two each followed by attention among the many tokens.
final class TokensToToken: Module {
  @ModuleInfo(key: "attention1") var first: TokenPerformer
  @ModuleInfo(key: "attention2") var second: TokenPerformer
  @ModuleInfo var project: any UnaryLayer
  private let gridSizes: [Int]

  init(_ configuration: T2TViTConfiguration) {
    let windows = SoftSplit.stage.map { $0.side * $0.side }
    let token = configuration.tokenSize
    gridSizes = configuration.gridSizes
    _first.wrappedValue = TokenPerformer(configuration.channelCount * windows[0], configuration)
    _second.wrappedValue = TokenPerformer(token * windows[1], configuration)
    _project.wrappedValue = Linear.zeros(token * windows[2], configuration.hiddenSize)
  }

  /// Images [B, H, W, C] → [B, tokens, D].
  func callAsFunction(_ images: MLXArray) -> MLXArray { projected(coarse(fine(images))) }

  /// Images [B, H, W, C] → the tokens of the first split [B, T, size].
  func fine(_ images: MLXArray) -> MLXArray { first(SoftSplit.stage[0](images)) }

  /// The tokens of the first split → those of the second [B, T', size].
  func coarse(_ fine: MLXArray) -> MLXArray {
    second(SoftSplit.stage[1](grid(fine, gridSizes[0])))
  }

  /// The tokens of the second split → those of the third [B, tokens, D].
  func projected(_ coarse: MLXArray) -> MLXArray {
    project(SoftSplit.stage[2](grid(coarse, gridSizes[1])))
  }

  private func grid(_ tokens: MLXArray, _ size: Int) -> MLXArray {
    tokens.reshaped(tokens.dim(0), size, size, tokens.dim(2))
  }
}

/// Attention whose cost grows with the number of tokens and not with its square: the kernel exp(qᵀk)
/// as the mean of products of positive random features.
///
/// φ(x) = exp(Ω x − ½ ‖x‖²) / √m with m rows of Ω, and y = φ(q) (φ(k)ᵀ v) / φ(q) (Σ φ(k)).
///
/// Source: Choromanski et al., "Rethinking attention with performers", 2021, lemma 1; as Yuan et al.
/// use it, with the values as the shortcut.
final class TokenPerformer: Module {
  @ModuleInfo var kqv: any UnaryLayer
  @ModuleInfo(key: "proj") var output: any UnaryLayer
  @ModuleInfo(key: "norm1") var attentionNorm: LayerNorm
  @ModuleInfo(key: "norm2") var feedForwardNorm: LayerNorm
  @ModuleInfo(key: "mlp") var feedForward: TokenFeedForward
  /// Ω [m, size], which is not trained.
  @ParameterInfo(key: "w") var directions: MLXArray

  init(_ inputSize: Int, _ configuration: T2TViTConfiguration) {
    let (size, eps) = (configuration.tokenSize, configuration.layerNormEpsilon)
    _kqv.wrappedValue = Linear.zeros(inputSize, 3 * size)
    _output.wrappedValue = Linear.zeros(size, size)
    _attentionNorm.wrappedValue = LayerNorm(dimensions: inputSize, eps: eps)
    _feedForwardNorm.wrappedValue = LayerNorm(dimensions: size, eps: eps)
    _feedForward.wrappedValue = TokenFeedForward(size)
    _directions.wrappedValue = MLXArray.zeros([configuration.featureCount, size])
  }

  /// [B, T, inputs] → [B, T, size].
  func callAsFunction(_ x: MLXArray) -> MLXArray {
    let attended = attention(attentionNorm(x))
    return attended + feedForward(feedForwardNorm(attended))
  }

  private func attention(_ x: MLXArray) -> MLXArray {
    let parts = kqv(x).split(parts: 3, axis: -1)
    // Exponentials and their sums over thousands of tokens need the wide type.
    let keys = features(parts[0].asType(.float32))
    let queries = features(parts[1].asType(.float32))
    let values = parts[2].asType(.float32)
    let mixed = matmul(queries, matmul(keys.swappedAxes(1, 2), values))
    let weights = matmul(queries, keys.sum(axis: 1, keepDims: true).swappedAxes(1, 2))
    return parts[2] + output((mixed / (weights + 1e-8)).asType(parts[2].dtype))
  }

  /// φ of each row: [B, T, size] → [B, T, m].
  private func features(_ x: MLXArray) -> MLXArray {
    let half = square(x).sum(axis: -1, keepDims: true) / 2
    let count = Double(max(1, directions.dim(0)))
    return exp(matmul(x, directions.asType(.float32).T) - half) / count.squareRoot()
  }
}

/// Two linear layers with a GELU between, numbered as the release has them.
final class TokenFeedForward: Module {
  @ModuleInfo(key: "0") var input: any UnaryLayer
  @ModuleInfo(key: "2") var output: any UnaryLayer

  init(_ size: Int) {
    _input.wrappedValue = Linear.zeros(size, size)
    _output.wrappedValue = Linear.zeros(size, size)
  }

  func callAsFunction(_ x: MLXArray) -> MLXArray { output(gelu(input(x))) }
}

/// Attention, then the feed-forward pair, each normalised before and added to its input.
final class T2TViTLayer: Module {
  @ModuleInfo(key: "norm1") var attentionNorm: LayerNorm
  @ModuleInfo(key: "attn") var attention: T2TViTAttention
  @ModuleInfo(key: "norm2") var feedForwardNorm: LayerNorm
  @ModuleInfo(key: "mlp") var feedForward: T2TViTFeedForward

  init(_ configuration: T2TViTConfiguration) {
    let norm = {
      LayerNorm(dimensions: configuration.hiddenSize, eps: configuration.layerNormEpsilon)
    }
    _attentionNorm.wrappedValue = norm()
    _attention.wrappedValue = T2TViTAttention(configuration)
    _feedForwardNorm.wrappedValue = norm()
    _feedForward.wrappedValue = T2TViTFeedForward(configuration)
  }

  func callAsFunction(_ x: MLXArray) -> MLXArray {
    let attended = x + attention(attentionNorm(x))
    return attended + feedForward(feedForwardNorm(attended))
  }
}

final class T2TViTAttention: Module {
  /// Queries, keys and values in one product D → 3 D.
  @ModuleInfo(key: "qkv") var input: any UnaryLayer
  @ModuleInfo(key: "proj") var output: any UnaryLayer
  private let headCount: Int
  private let scale: Float?

  init(_ configuration: T2TViTConfiguration) {
    let size = configuration.hiddenSize
    headCount = configuration.headCount
    scale = configuration.attentionScale
    _input.wrappedValue = Linear.zeros(size, 3 * size, bias: configuration.projectionsHaveBias)
    _output.wrappedValue = Linear.zeros(size, size)
  }

  func callAsFunction(_ x: MLXArray) -> MLXArray {
    let parts = input(x).split(parts: 3, axis: -1).map { heads($0, headCount) }
    return output(fullAttention(parts[0], parts[1], parts[2], scale: scale))
  }
}

final class T2TViTFeedForward: Module {
  @ModuleInfo(key: "fc1") var input: any UnaryLayer
  @ModuleInfo(key: "fc2") var output: any UnaryLayer

  init(_ configuration: T2TViTConfiguration) {
    let (hidden, inner) = (configuration.hiddenSize, configuration.intermediateSize)
    _input.wrappedValue = Linear.zeros(hidden, inner)
    _output.wrappedValue = Linear.zeros(inner, hidden)
  }

  func callAsFunction(_ x: MLXArray) -> MLXArray { output(gelu(input(x))) }
}

/// Positions as sines (even places) and cosines (odd ones) of wavelengths up to 2π · 10⁴:
/// [1, count, size].
///
/// Source: Vaswani et al., "Attention is all you need", 2017, section 3.5.
func sinusoids(_ count: Int, _ size: Int) -> MLXArray {
  let pairs = arange((size + 1) / 2, dtype: .float32) * (-2 / Double(max(1, size)))
  let rates = exp(log(MLXArray(10000 as Float)) * pairs)
  let angles = arange(count, dtype: .float32).reshaped(count, 1) * rates
  let table = stacked([sin(angles), cos(angles)], axis: -1).flattened(start: 1)
  return table[0..., 0..<size].expandedDimensions(axis: 0)
}
