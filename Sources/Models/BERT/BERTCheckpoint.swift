import FoundationEssentials
import MLX
import MLXNN
import OrderedCollections

/// A BERT encoder and the folder that it came from, to be written again with other weights.
///
/// Tensors are named as the parameters of ``BERTModel``, behind a prefix such as `bert.` where the
/// folder holds a model with a head. Tensors that the encoder has no use for (the head, say) are
/// carried over as they are.
public final class BERTCheckpoint {
  /// The folder.
  public let folder: CheckpointFolder
  /// The encoder with the folder's weights; its layers may be replaced before it is written.
  public let model: BERTModel
  /// What precedes a parameter's path in the name of its tensor: nothing, or `bert.`.
  public let prefix: String

  private let factory: StructuredLayerFactory
  /// The names of the tensors that are parameters, by path.
  private let names: [String: String]

  /// Loads a folder.
  ///
  /// Every tensor's shape is checked against `config.json` before one is read. Floating-point
  /// weights are converted to `dtype`, in which the model computes.
  ///
  /// Throws ``CheckpointError``, `SafetensorsError`, or what the factory throws.
  public init(
    folder: CheckpointFolder, structuredLayers factory: StructuredLayerFactory = .none,
    dtype: DType = .float32
  ) throws {
    let words = "embeddings.word_embeddings.weight"
    guard let first = folder.tensorNames.first(where: { $0 == words || $0.hasSuffix("." + words) })
    else { throw CheckpointError.missingTensors(folder: folder.path, names: [words]) }
    let prefix = String(first.dropLast(words.count))
    let configuration = try BERTConfiguration(folder.configuration)
    let model = BERTModel(
      configuration,
      hasPooler: folder.tensorNames.contains { $0.hasPrefix(prefix + "pooler.") })
    try BERTCheckpoint.makeStructuredLayers(
      in: model, prefix: prefix, file: folder.configuration, factory: factory)
    names = try BERTCheckpoint.names(of: model, in: folder, prefix: prefix)
    self.folder = folder
    self.model = model
    self.prefix = prefix
    self.factory = factory
    try load(dtype)
  }

  private static func makeStructuredLayers(
    in model: BERTModel, prefix: String, file: ConfigurationFile, factory: StructuredLayerFactory
  ) throws {
    let modules = model.namedModules()
    var layers: [String: Module] = [:]
    for (layer, spec) in try StructuredLayers.specs(in: file) {
      let path = layer.hasPrefix(prefix) ? String(layer.dropFirst(prefix.count)) : layer
      guard layer.hasPrefix(prefix), let dense = modules[path] as? Linear else {
        throw CheckpointError.unknownLayer(file: file.path, layer: layer)
      }
      layers[path] = try factory.make(
        StructuredLayerRequest(
          path: path, spec: spec, inputDimensions: dense.inputDimensions,
          outputDimensions: dense.outputDimensions, hasBias: dense.bias != nil))
    }
    try model.update(modules: layers)
  }

  /// The name of each parameter's tensor; throws if one is missing or has the wrong shape or type.
  private static func names(
    of model: BERTModel, in folder: CheckpointFolder, prefix: String
  ) throws -> [String: String] {
    var names: [String: String] = [:]
    var missing: [String] = []
    for (path, parameter) in model.parameters() {
      let candidates = [prefix + path, BERTCheckpoint.oldName(prefix + path)]
      guard
        let (name, tensor) = candidates.lazy.compactMap({ name in
          folder.tensor(name).map { (name, $0) }
        }).first
      else {
        missing.append(prefix + path)
        continue
      }
      guard tensor.shape == parameter.shape else {
        throw CheckpointError.wrongShape(
          folder: folder.path, tensor: name, expected: parameter.shape, got: tensor.shape)
      }
      guard tensor.dtype.isFloatingPoint == parameter.dtype.isFloatingPoint else {
        throw CheckpointError.wrongType(
          folder: folder.path, tensor: name, expected: parameter.dtype, got: tensor.dtype)
      }
      names[path] = name
    }
    guard missing.isEmpty else {
      throw CheckpointError.missingTensors(folder: folder.path, names: missing)
    }
    return names
  }

  /// The name in checkpoints that were converted from the first TensorFlow release.
  private static func oldName(_ name: String) -> String {
    name.replacing("LayerNorm.weight", with: "LayerNorm.gamma")
      .replacing("LayerNorm.bias", with: "LayerNorm.beta")
  }

  private func load(_ dtype: DType) throws {
    var values = ModuleParameters()
    for (path, parameter) in model.parameters() {
      let array = try folder.array(tensorName(path))
      values[path] = array.asType(parameter.dtype.isFloatingPoint ? dtype : parameter.dtype)
    }
    try model.update(parameters: values)
    try eval(Array(values.values))
  }

  /// The name of a parameter's tensor in this checkpoint.
  public func tensorName(_ path: String) -> String { names[path] ?? prefix + path }

  /// Writes the model as it is now, with the folder's other tensors and files.
  ///
  /// A tensor that the folder has keeps its element type, so that an unchanged model comes out with
  /// the bytes that it came with; new floating-point tensors get the type of the word embeddings.
  /// The target is whole or absent, as
  /// ``CheckpointFolder/write(to:replacingExisting:tensors:structures:finishing:)`` explains.
  public func write(
    to target: URL, replacingExisting: Bool = false, finishing: (URL) throws -> Void = { _ in }
  ) throws {
    let words = folder.tensor(tensorName("embeddings.word_embeddings.weight"))
    var tensors: [String: MLXArray] = [:]
    for name in Set(folder.tensorNames).subtracting(names.values) {
      tensors[name] = try folder.array(name)
    }
    for (path, array) in model.parameters() {
      let name = tensorName(path)
      let stored = folder.tensor(name) ?? (array.dtype.isFloatingPoint ? words : nil)
      tensors[name] = array.asType(stored?.dtype ?? array.dtype)
    }
    var structures: [String: String] = [:]
    for (path, module) in model.namedModules() {
      guard let layer = module as? any UnaryLayer, let spec = factory.spec(layer) else { continue }
      structures[prefix + path] = spec
    }
    try folder.write(
      to: target, replacingExisting: replacingExisting, tensors: tensors, structures: structures,
      finishing: finishing)
  }
}
