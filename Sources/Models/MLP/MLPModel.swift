import MLX
import MLXNN

/// A multilayer perceptron: linear layers with an activation after each but the last.
///
/// Parameters are `layers.0.weight`, `layers.0.bias` and so on; the field has no format of its own
/// for these.
public final class MLPModel: Module, ImageClassifier {
  /// The hidden layers and the output layer.
  @ModuleInfo public var layers: [any UnaryLayer]

  /// The sizes.
  public let configuration: MLPConfiguration

  /// A model whose weights are all zero, to be loaded or initialised.
  public init(_ configuration: MLPConfiguration) {
    self.configuration = configuration
    let sizes = configuration.sizes
    _layers.wrappedValue = zip(sizes, sizes.dropFirst()).map { Linear.zeros($0, $1) }
  }

  /// The height, width and number of channels of an image.
  public var imageShape: [Int] {
    [configuration.imageSize, configuration.imageSize, configuration.channelCount]
  }
  /// The number of classes.
  public var classCount: Int { configuration.classCount }

  /// The outputs [..., classes] for vectors [..., K].
  public func outputs(_ x: MLXArray) -> MLXArray {
    let hidden = layers.dropLast().reduce(x) { configuration.activation($1($0)) }
    return layers.last?(hidden) ?? hidden
  }

  /// The logits [B, classes] for images [B, height, width, channels] that have been checked.
  public func logits(images: MLXArray) -> MLXArray { outputs(images.flattened(start: 1)) }
}

extension MLPModel: CheckpointModel {
  /// `mlp`.
  public static var modelType: String { "mlp" }
  /// There are no prefixes.
  public static var anchor: String? { nil }

  /// A model of zeros with the sizes of a folder.
  public convenience init(folder: CheckpointFolder, prefix: String) throws {
    self.init(try MLPConfiguration(folder.configuration))
  }

  /// 1/√K, which keeps the size of what goes through.
  public func initialDeviation(of path: String, inputs: Int) -> Double {
    1 / Double(max(1, inputs)).squareRoot()
  }

  /// The sizes.
  public var configurationText: String { configuration.text }
}
