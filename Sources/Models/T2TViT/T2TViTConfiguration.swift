import MLX

/// The sizes of a T2T-ViT whose tokens-to-token stage is a performer's.
public struct T2TViTConfiguration: Hashable, Sendable {
  /// The height and width of an image.
  public var imageSize: Int
  /// The number of channels of an image.
  public var channelCount: Int
  /// The size of a token inside the tokens-to-token stage.
  public var tokenSize: Int
  /// The number of random features of its attention.
  public var featureCount: Int
  /// D, the size of a hidden state.
  public var hiddenSize: Int
  /// The number of layers.
  public var layerCount: Int
  /// The number of attention heads, a divisor of D.
  public var headCount: Int
  /// The size of the layer between the two feed-forward products.
  public var intermediateSize: Int
  /// The number of classes.
  public var classCount: Int
  /// What layer normalisation adds to the variance.
  public var layerNormEpsilon: Float
  /// Whether queries, keys and values have biases.
  public var projectionsHaveBias: Bool
  /// What scores are multiplied by; 1/√(D / heads) where absent.
  ///
  /// The published weights were trained with 1/√D.
  public var attentionScale: Float?

  /// Sizes by hand.
  public init(
    imageSize: Int = 224, channelCount: Int = 3, tokenSize: Int = 64, featureCount: Int? = nil,
    hiddenSize: Int, layerCount: Int, headCount: Int, intermediateSize: Int,
    classCount: Int = 1000, layerNormEpsilon: Float = 1e-5, projectionsHaveBias: Bool = false,
    attentionScale: Float? = nil
  ) {
    self.imageSize = imageSize
    self.channelCount = channelCount
    self.tokenSize = tokenSize
    self.featureCount = featureCount ?? max(1, tokenSize / 2)
    self.hiddenSize = hiddenSize
    self.layerCount = layerCount
    self.headCount = headCount
    self.intermediateSize = intermediateSize
    self.classCount = classCount
    self.layerNormEpsilon = layerNormEpsilon
    self.projectionsHaveBias = projectionsHaveBias
    self.attentionScale = attentionScale
  }

  /// T2T-ViT-7: 4.3 million parameters. (Yuan et al., 2021, table 2.)
  public static let t2tViT7 = T2TViTConfiguration(
    hiddenSize: 256, layerCount: 7, headCount: 4, intermediateSize: 512)
  /// T2T-ViT-10: 5.9 million parameters.
  public static let t2tViT10 = T2TViTConfiguration(
    hiddenSize: 256, layerCount: 10, headCount: 4, intermediateSize: 512)
  /// T2T-ViT-12: 6.9 million parameters.
  public static let t2tViT12 = T2TViTConfiguration(
    hiddenSize: 256, layerCount: 12, headCount: 4, intermediateSize: 512)
  /// T2T-ViT-14: 21.5 million parameters.
  public static let t2tViT14 = T2TViTConfiguration(
    hiddenSize: 384, layerCount: 14, headCount: 6, intermediateSize: 1152)

  /// The sides of the token grids after each of the three soft splits.
  public var gridSizes: [Int] {
    var size = imageSize
    return SoftSplit.stage.map { split in
      size = split.count(size)
      return size
    }
  }

  /// The number of tokens that the layers see beside the class token.
  public var tokenCount: Int { (gridSizes.last ?? 0) * (gridSizes.last ?? 0) }

  /// Reads `config.json`.
  package init(_ file: ConfigurationFile) throws {
    let tokenSize = try file.integer("token_size", default: 64)
    let scale = try file.positiveNumber("attention_scale", default: 0)
    self.init(
      imageSize: try file.integer("image_size", in: 4...4096),
      channelCount: try file.integer("num_channels", default: 3), tokenSize: tokenSize,
      featureCount: try file.integer("num_random_features", default: max(1, tokenSize / 2)),
      hiddenSize: try file.integer("hidden_size"),
      layerCount: try file.integer("num_hidden_layers", in: 1...10_000),
      headCount: try file.integer("num_attention_heads"),
      intermediateSize: try file.integer("intermediate_size"), classCount: try file.classCount(),
      layerNormEpsilon: Float(try file.positiveNumber("layer_norm_eps", default: 1e-5)),
      projectionsHaveBias: try file.bool("qkv_bias", default: false),
      attentionScale: scale > 0 ? Float(scale) : nil)
    try file.requireDivisor("num_attention_heads", headCount, of: "hidden_size", hiddenSize)
  }

  /// The text of a `config.json`.
  var text: String {
    JSON.object([
      "model_type": .string(T2TViTModel.modelType), "image_size": .integer(imageSize),
      "num_channels": .integer(channelCount), "token_size": .integer(tokenSize),
      "num_random_features": .integer(featureCount), "hidden_size": .integer(hiddenSize),
      "num_hidden_layers": .integer(layerCount), "num_attention_heads": .integer(headCount),
      "intermediate_size": .integer(intermediateSize), "id2label": classNames(classCount),
      "layer_norm_eps": .number("\(layerNormEpsilon)"), "qkv_bias": .bool(projectionsHaveBias),
      "attention_scale": attentionScale.map { .number("\($0)") } ?? .null,
    ]).encoded(indent: 2)
  }
}
