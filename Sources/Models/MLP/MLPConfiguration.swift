import MLX

/// The sizes of a multilayer perceptron, as `config.json` names them.
public struct MLPConfiguration: Hashable, Sendable {
  /// The height and width of an image; 1 for plain vectors.
  public var imageSize: Int
  /// The number of channels of an image; the length of plain vectors.
  public var channelCount: Int
  /// D, the size of the hidden layers.
  public var hiddenSize: Int
  /// The number of hidden layers.
  public var layerCount: Int
  /// The number of classes, or of outputs of another kind.
  public var classCount: Int
  /// The activation after every hidden layer.
  public var activation: Activation

  /// Sizes by hand.
  public init(
    imageSize: Int = 1, channelCount: Int, hiddenSize: Int, layerCount: Int, classCount: Int,
    activation: Activation = .gelu
  ) {
    self.imageSize = imageSize
    self.channelCount = channelCount
    self.hiddenSize = hiddenSize
    self.layerCount = layerCount
    self.classCount = classCount
    self.activation = activation
  }

  /// K, the numbers of an input.
  public var inputSize: Int { imageSize * imageSize * channelCount }

  /// The sizes of the inputs of all layers, and of the last one's output.
  var sizes: [Int] {
    [inputSize] + Array(repeating: hiddenSize, count: layerCount) + [classCount]
  }

  /// Reads `config.json`.
  package init(_ file: ConfigurationFile) throws {
    self.init(
      imageSize: try file.integer("image_size", in: 1...4096),
      channelCount: try file.integer("num_channels"), hiddenSize: try file.integer("hidden_size"),
      layerCount: try file.integer("num_hidden_layers", in: 1...10_000),
      classCount: try file.classCount(), activation: try file.choice("hidden_act"))
  }

  /// The text of a `config.json`.
  var text: String {
    JSON.object([
      "model_type": .string(MLPModel.modelType), "image_size": .integer(imageSize),
      "num_channels": .integer(channelCount), "hidden_size": .integer(hiddenSize),
      "num_hidden_layers": .integer(layerCount), "id2label": classNames(classCount),
      "hidden_act": .string(activation.rawValue),
    ]).encoded(indent: 2)
  }
}
