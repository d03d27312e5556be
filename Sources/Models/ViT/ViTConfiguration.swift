import MLX

/// The sizes of a vision transformer, as `config.json` names them.
public struct ViTConfiguration: Hashable, Sendable {
  /// The height and width of an image.
  public var imageSize: Int
  /// The height and width of a patch, a divisor of the image's.
  public var patchSize: Int
  /// The number of channels of an image.
  public var channelCount: Int
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
  /// The activation between the two feed-forward products.
  public var activation: Activation
  /// Whether queries, keys and values have biases.
  public var projectionsHaveBias: Bool

  /// Sizes by hand.
  public init(
    imageSize: Int = 224, patchSize: Int = 16, channelCount: Int = 3, hiddenSize: Int,
    layerCount: Int, headCount: Int, intermediateSize: Int? = nil, classCount: Int = 1000,
    layerNormEpsilon: Float = 1e-12, activation: Activation = .gelu,
    projectionsHaveBias: Bool = true
  ) {
    self.imageSize = imageSize
    self.patchSize = patchSize
    self.channelCount = channelCount
    self.hiddenSize = hiddenSize
    self.layerCount = layerCount
    self.headCount = headCount
    self.intermediateSize = intermediateSize ?? 4 * hiddenSize
    self.classCount = classCount
    self.layerNormEpsilon = layerNormEpsilon
    self.activation = activation
    self.projectionsHaveBias = projectionsHaveBias
  }

  /// ViT-S/16: 384 wide, 12 layers, 6 heads. (Touvron et al., "DeiT", 2021, table 1.)
  public static let small16 = ViTConfiguration(hiddenSize: 384, layerCount: 12, headCount: 6)
  /// ViT-S/32: the same on patches of 32 pixels.
  public static let small32 = ViTConfiguration(
    patchSize: 32, hiddenSize: 384, layerCount: 12, headCount: 6)
  /// ViT-L/16: 1024 wide, 24 layers, 16 heads. (Dosovitskiy et al., 2021, table 1.)
  public static let large16 = ViTConfiguration(hiddenSize: 1024, layerCount: 24, headCount: 16)
  /// ViT-H/14: 1280 wide, 32 layers, 16 heads. (Dosovitskiy et al., 2021, table 1.)
  public static let huge14 = ViTConfiguration(
    patchSize: 14, hiddenSize: 1280, layerCount: 32, headCount: 16)

  /// The number of patches of an image.
  public var patchCount: Int { (imageSize / patchSize) * (imageSize / patchSize) }

  /// Reads `config.json`; what would need another model throws.
  package init(_ file: ConfigurationFile) throws {
    self.init(
      imageSize: try file.integer("image_size", default: 224),
      patchSize: try file.integer("patch_size", default: 16),
      channelCount: try file.integer("num_channels", default: 3),
      hiddenSize: try file.integer("hidden_size"),
      layerCount: try file.integer("num_hidden_layers", in: 1...10_000),
      headCount: try file.integer("num_attention_heads"),
      intermediateSize: try file.integer("intermediate_size"),
      classCount: try file.classCount(),
      layerNormEpsilon: Float(try file.positiveNumber("layer_norm_eps", default: 1e-12)),
      activation: try file.choice("hidden_act", default: .gelu),
      projectionsHaveBias: try file.bool("qkv_bias", default: true))
    try file.requireDivisor("num_attention_heads", headCount, of: "hidden_size", hiddenSize)
    try file.requireDivisor("patch_size", patchSize, of: "image_size", imageSize)
  }

  /// The text of a `config.json`.
  var text: String {
    JSON.object([
      "architectures": .array([.string("ViTForImageClassification")]),
      "model_type": .string(ViTModel.modelType), "image_size": .integer(imageSize),
      "patch_size": .integer(patchSize), "num_channels": .integer(channelCount),
      "hidden_size": .integer(hiddenSize), "num_hidden_layers": .integer(layerCount),
      "num_attention_heads": .integer(headCount), "intermediate_size": .integer(intermediateSize),
      "id2label": classNames(classCount), "layer_norm_eps": .number("\(layerNormEpsilon)"),
      "hidden_act": .string(activation.rawValue), "qkv_bias": .bool(projectionsHaveBias),
    ]).encoded(indent: 2)
  }
}
