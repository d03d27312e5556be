import Layers
import MLX
import MLXNN
import MLXOptimizers
import Models
import Operators
import OrderedCollections

/// A structured layer with a dense one beside it that helps it to start:
/// y = a · dense(x) + (1 − a) · structured(x), where a falls from 1 to 0.
///
/// A structured layer's loss surface is hardest at the beginning; with the dense layer carrying the
/// output, it learns from useful inputs and gradients until it is alone.
///
/// Source: Wei et al., "Building on efficient foundations: effectively training LLMs with structured
/// feedforward layers", 2024 (arXiv 2406.16450), self-guided training, with the cosine decay of a.
final class GuidedLinear: Module, UnaryLayer {
  static let structuredKey = ".structured"
  static let guideKey = ".guide"

  @ModuleInfo var structured: StructuredLinear
  @ModuleInfo var guide: Linear
  /// a; state, so that a compiled step sees it change.
  private let _share = MLXArray(Float(1))

  /// A guide of random weights [N, K], by the structured rule, without a bias of its own.
  init(_ structured: StructuredLinear, key: MLXArray) {
    let dense = Dense(inputs: structured.structure.inputs, outputs: structured.structure.outputs)
    _structured.wrappedValue = structured
    _guide.wrappedValue = Linear(
      weight: dense.initialize(key: key)["weight"] ?? .zeros([dense.outputs, dense.inputs]),
      bias: nil)
  }

  /// Sets a.
  func setShare(_ value: Double) { _share.update(MLXArray(Float(value))) }

  /// x [..., K] → y [..., N].
  func callAsFunction(_ x: MLXArray) -> MLXArray {
    let share = _share.asType(x.dtype)
    return share * guide(x) + (1 - share) * structured(x)
  }
}

/// The guided start of a model's structured layers.
struct GuidedStart {
  /// The steps in which a falls.
  let steps: Int
  private let layers: OrderedDictionary<String, GuidedLinear>

  /// Puts a guide beside every structured layer.
  ///
  /// Throws where a layer cannot be replaced.
  init(_ model: any CheckpointModel, steps: Int, key: MLXArray) throws {
    self.steps = steps
    var key = key
    var layers = OrderedDictionary<String, GuidedLinear>()
    for (path, module) in model.namedModules() {
      guard let layer = module as? StructuredLinear else { continue }
      let (next, now) = MLXRandom.split(key: key)
      key = next
      layers[path] = GuidedLinear(layer, key: now)
    }
    self.layers = layers
    try put(into: model)
  }

  /// a = ½ (1 + cos(π step / steps)).
  static func share(step: Int, of steps: Int) -> Double {
    Double(Schedule.cosine(from: 1, to: 0, steps: steps)(step))
  }

  /// Sets a for a step.
  func setShare(step: Int) {
    for layer in layers.values { layer.setShare(GuidedStart.share(step: step, of: steps)) }
  }

  /// Puts the guided layers in their places.
  func put(into model: any CheckpointModel) throws {
    try model.update(modules: layers.map { (key: $0.key, value: $0.value as Module) })
  }

  /// Puts the structured layers, alone, in their places.
  func remove(from model: any CheckpointModel) throws {
    try model.update(modules: layers.map { (key: $0.key, value: $0.value.structured as Module) })
  }

  /// The guides' weights by the paths of their layers.
  var weights: OrderedDictionary<String, MLXArray> { layers.mapValues(\.guide.weight) }

  /// Gives the guides weights that ``weights`` gave.
  ///
  /// Throws where one is missing.
  func restore(_ weights: [String: MLXArray]) throws {
    for (path, layer) in layers {
      guard let value = weights[path], value.shape == layer.guide.weight.shape else {
        throw TrainingError(
          "[resume] expected the guide of \(path) in the checkpoint, got none of its shape; resume "
            + "with the recipe that wrote it.")
      }
      layer.guide.weight.update(value)
    }
  }
}
