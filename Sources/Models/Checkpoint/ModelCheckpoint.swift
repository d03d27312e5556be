import FoundationEssentials
import Layers
import MLX
import MLXNN
import OrderedCollections

/// A model of any family and the folder that it came from, to be looked at and written again.
public protocol Checkpoint: AnyObject {
  /// The folder.
  var folder: CheckpointFolder { get }
  /// The model with the folder's weights, whatever its family.
  var module: any CheckpointModel { get }
  /// The name of a parameter's tensor in this checkpoint.
  func tensorName(_ path: String) -> String
  /// Writes the model as it is now, with the folder's other tensors and files.
  func write(to target: URL, replacingExisting: Bool, finishing: (URL) throws -> Void) throws
}

extension Checkpoint {
  /// Writes the model as it is now, with the folder's other tensors and files.
  public func write(to target: URL, replacingExisting: Bool = false) throws {
    try write(to: target, replacingExisting: replacingExisting) { _ in }
  }
}

/// A model and the folder that it came from, to be written again with other weights.
///
/// Tensors are named as the parameters of the model, behind a prefix such as `bert.` where the
/// folder holds a model with a head, or without one where it holds the bare model. Tensors that the
/// model has no use for are carried over as they are.
public final class ModelCheckpoint<Model: CheckpointModel>: Checkpoint {
  /// The folder.
  public let folder: CheckpointFolder
  /// The model with the folder's weights; its layers may be replaced before it is written.
  public let model: Model
  /// What precedes the bare model's parameters in the names of their tensors.
  public let prefix: String

  private let factory: StructuredLayerFactory
  /// The names of the tensors that are parameters, by path.
  private let names: [String: String]
  private let hasWeights: Bool

  /// The model, whatever its family.
  public var module: any CheckpointModel { model }

  /// Loads a folder.
  ///
  /// Every tensor's shape is checked against `config.json` before one is read. Floating-point
  /// weights are converted to `dtype`, in which the model computes. Without `readingWeights` they
  /// stay zero: enough to look at sizes.
  ///
  /// Throws ``CheckpointError``, `SafetensorsError`, or what the factory throws.
  public init(
    folder: CheckpointFolder, structuredLayers factory: StructuredLayerFactory = .none,
    dtype: DType = .float32, readingWeights: Bool = true
  ) throws {
    let type = try folder.configuration.string("model_type")
    guard type == Model.modelType else {
      throw CheckpointError.unsupported(
        file: folder.configuration.path, key: "model_type", expected: Model.modelType,
        got: "\"\(type)\"")
    }
    let prefix = try ModelCheckpoint.prefix(in: folder)
    let model = try Model(folder: folder, prefix: prefix)
    try ModelCheckpoint.makeStructuredLayers(
      in: model, prefix: prefix, file: folder.configuration, factory: factory)
    names = try ModelCheckpoint.names(of: model, in: folder, prefix: prefix)
    self.folder = folder
    self.model = model
    self.prefix = prefix
    self.factory = factory
    hasWeights = readingWeights
    if readingWeights { try load(dtype) }
  }

  /// What stands before the anchor's name in the folder.
  private static func prefix(in folder: CheckpointFolder) throws -> String {
    guard let path = Model.anchor else { return "" }
    let anchor = String(path.dropFirst(Model.pathPrefix.count))
    let candidates = folder.tensorNames.filter { $0 == anchor || $0.hasSuffix("." + anchor) }
    guard let name = candidates.first else {
      throw CheckpointError.missingTensors(folder: folder.path, names: [path])
    }
    return String(name.dropLast(anchor.count))
  }

  private static func makeStructuredLayers(
    in model: Model, prefix: String, file: ConfigurationFile, factory: StructuredLayerFactory
  ) throws {
    var dense: [String: (path: String, layer: Linear)] = [:]
    for (path, module) in model.namedModules() {
      if let layer = module as? Linear { dense[Model.name(path, prefix: prefix)] = (path, layer) }
    }
    var layers: [String: Module] = [:]
    for (name, spec) in try StructuredLayers.specs(in: file) {
      guard let (path, layer) = dense[name] else {
        throw CheckpointError.unknownLayer(file: file.path, layer: name)
      }
      layers[path] = try factory.make(
        StructuredLayerRequest(
          path: path, spec: spec, inputDimensions: layer.inputDimensions,
          outputDimensions: layer.outputDimensions, hasBias: layer.bias != nil,
          flow: Model.tokenFlow))
    }
    try model.update(modules: layers)
  }

  /// The name of each parameter's tensor; throws if one is missing or has the wrong shape or type.
  private static func names(
    of model: Model, in folder: CheckpointFolder, prefix: String
  ) throws -> [String: String] {
    var names: [String: String] = [:]
    var missing: [String] = []
    for (path, parameter) in model.parameters() {
      let name = Model.name(path, prefix: prefix)
      guard
        let (name, tensor) = [name, Model.oldName(name)].lazy.compactMap({ name in
          folder.tensor(name).map { (name, $0) }
        }).first
      else {
        missing.append(name)
        continue
      }
      let expected = model.layout(of: path).storedShape(parameter.shape)
      guard tensor.shape == expected else {
        throw CheckpointError.wrongShape(
          folder: folder.path, tensor: name, expected: expected, got: tensor.shape)
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

  private func load(_ dtype: DType) throws {
    var values = ModuleParameters()
    for (path, parameter) in model.parameters() {
      let array = model.layout(of: path).loaded(
        try folder.array(tensorName(path)), shape: parameter.shape)
      values[path] = array.asType(parameter.dtype.isFloatingPoint ? dtype : parameter.dtype)
    }
    try model.update(parameters: values)
    try eval(Array(values.values))
    try model.shareEncoders()
  }

  /// The name of a parameter's tensor in this checkpoint.
  public func tensorName(_ path: String) -> String {
    names[path] ?? Model.name(path, prefix: prefix)
  }

  /// Writes the model as it is now, with the folder's other tensors and files.
  ///
  /// A tensor that the folder has keeps its element type, so that an unchanged model comes out with
  /// the bytes that it came with; new floating-point tensors get the largest tensor's type.
  /// The target is whole or absent, as
  /// ``CheckpointFolder/write(to:replacingExisting:tensors:structures:finishing:)`` explains.
  public func write(
    to target: URL, replacingExisting: Bool = false, finishing: (URL) throws -> Void = { _ in }
  ) throws {
    precondition(hasWeights, "a checkpoint is written whose weights were not read")
    var tensors: [String: MLXArray] = [:]
    for name in Set(folder.tensorNames).subtracting(names.values).subtracting(model.derivedNames) {
      tensors[name] = try folder.array(name)
    }
    let largest = names.values.compactMap { folder.tensor($0) }
      .filter { $0.dtype.isFloatingPoint }
      .max { $0.bytes.count < $1.bytes.count }
    for (path, array) in model.parameters() {
      let name = tensorName(path)
      let stored = folder.tensor(name) ?? (array.dtype.isFloatingPoint ? largest : nil)
      tensors[name] = model.layout(of: path).stored(array).asType(stored?.dtype ?? array.dtype)
    }
    try folder.write(
      to: target, replacingExisting: replacingExisting, tensors: tensors,
      structures: model.structures(prefix: prefix, factory: factory), finishing: finishing)
  }
}
