import FoundationEssentials
import MLX
import MLXNN
import Operators
import OrderedCollections

/// A model whose parameters are the tensors of a Hugging Face folder.
///
/// A family says here what sets its folders apart; ``ModelCheckpoint`` does the rest, and
/// ``ModelRegistry`` finds the family of a folder.
public protocol CheckpointModel: Module {
  /// The value of `model_type` in `config.json`.
  static var modelType: String { get }
  /// What precedes the paths of the bare model's parameters, such as `transformer.`; folders of the
  /// bare model leave it out.
  static var pathPrefix: String { get }
  /// The path of a parameter of the bare model that every folder has, by which its prefix is found;
  /// `nil` where there are no prefixes.
  static var anchor: String? { get }
  /// The tokens that an output may depend on.
  static var tokenFlow: TokenFlow { get }

  /// A model whose weights are all zero, with the sizes of a folder and the heads that it has.
  ///
  /// Throws ``CheckpointError``.
  init(folder: CheckpointFolder, prefix: String) throws

  /// The text of a `config.json` with the model's sizes, for a model that came from no folder.
  var configurationText: String { get }
  /// Names of tensors that others determine (a head that is tied to the embeddings): they are
  /// neither read nor written.
  var derivedNames: Set<String> { get }
  /// How the parameter at a path is stored.
  func layout(of path: String) -> TensorLayout
  /// The standard deviation of the weight or table at a path before training.
  func initialDeviation(of path: String, inputs: Int) -> Double
  /// What parameters outside of linear layers, tables and norms are before training, by path.
  func initialValues(key: MLXArray) -> ModuleParameters
  /// The name that a tensor has in old checkpoints.
  static func oldName(_ name: String) -> String
}

extension CheckpointModel {
  /// Nothing.
  public static var pathPrefix: String { "" }
  /// All tokens.
  public static var tokenFlow: TokenFlow { .bidirectional }
  /// None.
  public var derivedNames: Set<String> { [] }
  /// As it is.
  public func layout(of path: String) -> TensorLayout { .same }
  /// The same name.
  public static func oldName(_ name: String) -> String { name }

  /// The name of a parameter's or layer's tensor in a folder with a prefix.
  static func name(_ path: String, prefix: String) -> String {
    path.hasPrefix(pathPrefix) ? prefix + path.dropFirst(pathPrefix.count) : path
  }

  /// The spec string of every structured layer by its name in a folder.
  func structures(prefix: String, factory: StructuredLayerFactory) -> [String: String] {
    var structures: [String: String] = [:]
    for (path, module) in namedModules() {
      guard let layer = module as? any UnaryLayer, let spec = factory.spec(layer) else { continue }
      structures[Self.name(path, prefix: prefix)] = spec
    }
    return structures
  }

  /// Writes a model that came from no folder: `config.json` and `model.safetensors`.
  ///
  /// The target is whole or absent. `finishing` adds further files, such as a tokenizer's.
  public func write(
    to target: URL, replacingExisting: Bool = false,
    structuredLayers factory: StructuredLayerFactory = .standard,
    finishing: (URL) throws -> Void = { _ in }
  ) throws {
    var tensors: [String: MLXArray] = [:]
    for (path, array) in parameters() { tensors[path] = layout(of: path).stored(array) }
    try CheckpointFolder.write(
      to: target, replacingExisting: replacingExisting,
      configuration: JSON(parsing: Array(configurationText.utf8)).object ?? JSON.Object(),
      tensors: tensors, structures: structures(prefix: Self.pathPrefix, factory: factory),
      finishing: finishing)
  }
}

/// How a parameter is stored where that is not as the model holds it.
public enum TensorLayout: Hashable, Sendable {
  /// As it is.
  case same
  /// A weight [N, K] as [K, N], which is what GPT-2's layers are.
  case transposed
  /// The same numbers in the same order under another shape: a convolution [N, C, P, P] whose
  /// windows do not overlap is a linear layer [N, C·P·P].
  case reshaped([Int])

  /// The shape of the tensor of a parameter.
  func storedShape(_ shape: [Int]) -> [Int] {
    switch self {
    case .same: shape
    case .transposed: shape.reversed()
    case .reshaped(let stored): stored
    }
  }

  /// The parameter, of the given shape, in a tensor.
  func loaded(_ tensor: MLXArray, shape: [Int]) -> MLXArray {
    switch self {
    case .same: tensor
    // A copy in the order of the model's axes: products read a weight along K.
    case .transposed: contiguous(tensor.transposed())
    case .reshaped: tensor.reshaped(shape)
    }
  }

  /// The tensor of a parameter.
  func stored(_ parameter: MLXArray) -> MLXArray {
    switch self {
    case .same: parameter
    case .transposed: parameter.transposed()
    case .reshaped(let stored): parameter.reshaped(stored)
    }
  }
}

extension Linear {
  /// A layer [K] → [N] of zeros, for weights that a checkpoint brings.
  static func zeros(
    _ inputDimensions: Int, _ outputDimensions: Int, bias: Bool = true
  ) -> Linear {
    Linear(
      weight: MLXArray.zeros([outputDimensions, inputDimensions]),
      bias: bias ? MLXArray.zeros([outputDimensions]) : nil)
  }
}

extension Embedding {
  /// A table [count, D] of zeros, for weights that a checkpoint brings.
  static func zeros(_ count: Int, _ dimensions: Int) -> Embedding {
    Embedding(weight: MLXArray.zeros([count, dimensions]))
  }
}
