import Layers
import MLX
import MLXNN
import OrderedCollections

/// A vision transformer: an image, cut into patches → the logits of the classes.
///
/// Paths of parameters are the names of the tensors in a checkpoint. Dropout is left out.
///
/// Source: Dosovitskiy et al., "An image is worth 16x16 words", 2021, section 3.1; details as in
/// Hugging Face transformers.
public final class ViTModel: Module, ImageClassifier {
  @ModuleInfo(key: "vit") var encoder: ViTEncoder
  /// The output layer D → classes, `nil` in a model of features.
  @ModuleInfo var classifier: (any UnaryLayer)?

  /// The sizes.
  public let configuration: ViTConfiguration

  /// A model whose weights are all zero, to be loaded or initialised; with or without a classifier
  /// and the pooler.
  public init(
    _ configuration: ViTConfiguration, hasClassifier: Bool = true, hasPooler: Bool = false
  ) {
    self.configuration = configuration
    _encoder.wrappedValue = ViTEncoder(configuration, hasPooler: hasPooler)
    _classifier.wrappedValue =
      hasClassifier ? Linear.zeros(configuration.hiddenSize, configuration.classCount) : nil
  }

  /// The height, width and number of channels of an image.
  public var imageShape: [Int] {
    [configuration.imageSize, configuration.imageSize, configuration.channelCount]
  }
  /// The number of classes.
  public var classCount: Int { configuration.classCount }

  /// The last hidden states [B, 1 + patches, D], the first that of the class token, for images
  /// [B, height, width, channels] that have been checked.
  public func hiddenStates(images: MLXArray) -> MLXArray { encoder(images) }

  /// The pooled output [B, D] for hidden states [B, 1 + patches, D]: tanh(W h₀ + b), `nil` without
  /// pooler.
  public func pooled(_ hidden: MLXArray) -> MLXArray? { encoder.pooler?(hidden) }

  /// The logits [B, classes] for images [B, height, width, channels] that have been checked; a
  /// failed array without a classifier.
  public func logits(images: MLXArray) -> MLXArray { logits(of: encoder(images)) }

  /// The logits [B, classes] of normalised hidden states [B, 1 + patches, D].
  func logits(of hidden: MLXArray) -> MLXArray {
    guard let classifier else {
      return MLXArray(
        failure: MLXError(ImageInputError.noClasses(modelType: Self.modelType).description))
    }
    return classifier.onFirstToken(hidden)
  }
}

extension ViTModel: CheckpointModel {
  /// `vit`.
  public static var modelType: String { "vit" }
  /// `vit.`.
  public static var pathPrefix: String { "vit." }
  /// The class token.
  public static var anchor: String? { "vit.embeddings.cls_token" }

  /// A model of zeros with the sizes of a folder, and with the classifier and the pooler that it
  /// has.
  public convenience init(folder: CheckpointFolder, prefix: String) throws {
    self.init(
      try ViTConfiguration(folder.configuration),
      hasClassifier: folder.tensorNames.contains { $0.hasPrefix("classifier.") },
      hasPooler: folder.tensorNames.contains { $0.hasPrefix(prefix + "pooler.") })
  }

  /// The sizes under the names of the format.
  public var configurationText: String { configuration.text }

  /// The class token and the positions, as random as the tables of other models.
  public func initialValues(key: MLXArray) -> ModuleParameters {
    let (first, second) = MLXRandom.split(key: key)
    return [
      "vit.embeddings.cls_token": MLXRandom.normal(
        [1, 1, configuration.hiddenSize], scale: 0.02, key: first),
      "vit.embeddings.position_embeddings": MLXRandom.normal(
        [1, 1 + configuration.patchCount, configuration.hiddenSize], scale: 0.02, key: second),
    ]
  }

  /// The projection of patches is stored as a convolution.
  public func layout(of path: String) -> TensorLayout {
    guard path.hasSuffix("patch_embeddings.projection.weight") else { return .same }
    let side = configuration.patchSize
    return .reshaped([configuration.hiddenSize, configuration.channelCount, side, side])
  }
}

/// The embeddings, the layers, and a last normalisation.
final class ViTEncoder: Module {
  @ModuleInfo var embeddings: ViTEmbeddings
  @ModuleInfo(key: "encoder") var stack: ViTStack
  @ModuleInfo(key: "layernorm") var norm: LayerNorm
  @ModuleInfo var pooler: BERTPooler?

  init(_ configuration: ViTConfiguration, hasPooler: Bool) {
    _embeddings.wrappedValue = ViTEmbeddings(configuration)
    _stack.wrappedValue = ViTStack(configuration)
    _norm.wrappedValue = LayerNorm(
      dimensions: configuration.hiddenSize, eps: configuration.layerNormEpsilon)
    _pooler.wrappedValue = hasPooler ? BERTPooler(size: configuration.hiddenSize) : nil
  }

  func callAsFunction(_ images: MLXArray) -> MLXArray {
    norm(stack.layers.reduce(embeddings(images)) { $1($0) })
  }
}

final class ViTStack: Module {
  @ModuleInfo(key: "layer") var layers: [ViTLayer]

  init(_ configuration: ViTConfiguration) {
    _layers.wrappedValue = (0..<configuration.layerCount).map { _ in ViTLayer(configuration) }
  }
}

/// The projected patches behind the class token, each with its position added.
final class ViTEmbeddings: Module {
  @ParameterInfo(key: "cls_token") var classToken: MLXArray
  @ParameterInfo(key: "position_embeddings") var positions: MLXArray
  @ModuleInfo(key: "patch_embeddings") var patches: ViTPatches

  init(_ configuration: ViTConfiguration) {
    _classToken.wrappedValue = MLXArray.zeros([1, 1, configuration.hiddenSize])
    _positions.wrappedValue = MLXArray.zeros(
      [1, 1 + configuration.patchCount, configuration.hiddenSize])
    _patches.wrappedValue = ViTPatches(configuration)
  }

  func callAsFunction(_ images: MLXArray) -> MLXArray {
    let projected = patches(images)
    let first = broadcast(classToken, to: [images.dim(0), 1, classToken.dim(2)])
    return concatenated([first.asType(projected.dtype), projected], axis: 1) + positions
  }
}

/// A linear layer on patches: what a convolution whose windows do not overlap is.
final class ViTPatches: Module {
  @ModuleInfo var projection: any UnaryLayer
  private let side: Int

  init(_ configuration: ViTConfiguration) {
    side = configuration.patchSize
    _projection.wrappedValue = Linear.zeros(
      configuration.channelCount * side * side, configuration.hiddenSize)
  }

  /// Images [B, H, W, C] → [B, patches, D], patches row by row.
  func callAsFunction(_ images: MLXArray) -> MLXArray {
    let (rows, columns) = (images.dim(1) / side, images.dim(2) / side)
    // Within a patch channels go first, as in the convolution's weight.
    let patches = images.reshaped(images.dim(0), rows, side, columns, side, images.dim(3))
      .transposed(0, 1, 3, 5, 2, 4)
      .reshaped(images.dim(0), rows * columns, images.dim(3) * side * side)
    return projection(patches)
  }
}

/// Attention, then the feed-forward pair, each normalised before and added to its input.
final class ViTLayer: Module {
  @ModuleInfo var attention: ViTAttention
  @ModuleInfo var intermediate: ViTDense
  @ModuleInfo var output: ViTDense
  @ModuleInfo(key: "layernorm_before") var attentionNorm: LayerNorm
  @ModuleInfo(key: "layernorm_after") var feedForwardNorm: LayerNorm
  private let activation: Activation

  init(_ configuration: ViTConfiguration) {
    let (hidden, inner) = (configuration.hiddenSize, configuration.intermediateSize)
    let norm = { LayerNorm(dimensions: hidden, eps: configuration.layerNormEpsilon) }
    activation = configuration.activation
    _attention.wrappedValue = ViTAttention(configuration)
    _intermediate.wrappedValue = ViTDense(hidden, inner)
    _output.wrappedValue = ViTDense(inner, hidden)
    _attentionNorm.wrappedValue = norm()
    _feedForwardNorm.wrappedValue = norm()
  }

  func callAsFunction(_ x: MLXArray) -> MLXArray {
    let attended = x + attention(attentionNorm(x))
    return attended + output(activation(after: intermediate.dense, feedForwardNorm(attended)))
  }
}

/// The format keeps a linear layer as the key `dense` of a module of its own.
final class ViTDense: Module {
  @ModuleInfo var dense: any UnaryLayer

  init(_ inputs: Int, _ outputs: Int) {
    _dense.wrappedValue = Linear.zeros(inputs, outputs)
  }

  func callAsFunction(_ x: MLXArray) -> MLXArray { dense(x) }
}

final class ViTAttention: Module {
  @ModuleInfo(key: "attention") var projections: ViTProjections
  @ModuleInfo var output: ViTDense
  private let headCount: Int

  init(_ configuration: ViTConfiguration) {
    headCount = configuration.headCount
    _projections.wrappedValue = ViTProjections(configuration)
    _output.wrappedValue = ViTDense(configuration.hiddenSize, configuration.hiddenSize)
  }

  func callAsFunction(_ x: MLXArray) -> MLXArray {
    let projected = outputs(
      of: [projections.query, projections.key, projections.value], reading: x
    ).map { heads($0, headCount) }
    return output(fullAttention(projected[0], projected[1], projected[2]))
  }
}

final class ViTProjections: Module {
  @ModuleInfo var query: any UnaryLayer
  @ModuleInfo var key: any UnaryLayer
  @ModuleInfo var value: any UnaryLayer

  init(_ configuration: ViTConfiguration) {
    let dense = {
      Linear.zeros(
        configuration.hiddenSize, configuration.hiddenSize,
        bias: configuration.projectionsHaveBias)
    }
    _query.wrappedValue = dense()
    _key.wrappedValue = dense()
    _value.wrappedValue = dense()
  }
}
