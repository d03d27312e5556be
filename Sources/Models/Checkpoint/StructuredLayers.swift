import MLX
import MLXNN
import Operators

/// The key `tessera` of `config.json`, which says what the structured layers of a checkpoint are:
/// `{"version": 1, "layers": {"encoder.layer.0.attention.self.query": {"spec": "btt:rank=2"}}}`.
///
/// Layers are named as their tensors are, so that `<layer>.<structure>.<parameter>` is a tensor.
enum StructuredLayers {
  static let key = "tessera"
  /// The version that is written, and the only one that is read.
  static let version = 1

  /// The spec string of every structured layer, by its name.
  static func specs(in file: ConfigurationFile) throws -> [(layer: String, spec: String)] {
    guard let value = file.object[key] else { return [] }
    guard let entry = value.object else { throw file.illTyped(key, "an object", value) }
    guard let found = entry["version"] else {
      throw CheckpointError.missingKey(file: file.path, key: "\(key).version")
    }
    guard found.integer == version else {
      throw CheckpointError.unsupported(
        file: file.path, key: "\(key).version", expected: "\(version)", got: found.kind)
    }
    guard let layers = entry["layers"] else {
      throw CheckpointError.missingKey(file: file.path, key: "\(key).layers")
    }
    guard let members = layers.object?.members else {
      throw file.illTyped("\(key).layers", "an object", layers)
    }
    return try members.map { layer, value in
      guard let spec = value["spec"] else {
        throw CheckpointError.missingKey(file: file.path, key: "\(key).layers.\(layer).spec")
      }
      guard let text = spec.string else {
        throw file.illTyped("\(key).layers.\(layer).spec", "a string", spec)
      }
      return (layer, text)
    }
  }

  /// A configuration with the key set, or without it where no layer is structured.
  static func configuration(_ object: JSON.Object, naming specs: [String: String]) -> JSON {
    var object = object
    var layers = JSON.Object()
    for (layer, spec) in specs.sorted(by: { $0.key < $1.key }) {
      layers[layer] = .object(["spec": .string(spec)])
    }
    object[key] =
      specs.isEmpty ? nil : .object(["version": .integer(version), "layers": .object(layers)])
    return .object(object)
  }
}

/// A structured layer that a checkpoint holds in the place of a dense one.
public struct StructuredLayerRequest: Hashable, Sendable {
  /// The path of the layer in the model.
  public let path: String
  /// The spec string of its structure.
  public let spec: String
  /// K, the size of its input.
  public let inputDimensions: Int
  /// N, the size of its output.
  public let outputDimensions: Int
  /// Whether it has a bias [N].
  public let hasBias: Bool
  /// The tokens that an output of the model may depend on.
  public let flow: TokenFlow
}

/// How structured layers are made when a checkpoint is loaded, and named when one is written.
///
/// Models know neither structures nor their parameters: a layer that `make` returns has the
/// checkpoint's tensors as parameters under its path, with any values.
public struct StructuredLayerFactory: Sendable {
  /// Makes the layer that a checkpoint asks for, or says why that cannot be.
  public let make: @Sendable (StructuredLayerRequest) throws -> any UnaryLayer
  /// The spec string of a layer that `make` made, `nil` for every other layer.
  public let spec: @Sendable (any UnaryLayer) -> String?

  /// A factory of two functions that are each other's inverse.
  public init(
    make: @escaping @Sendable (StructuredLayerRequest) throws -> any UnaryLayer,
    spec: @escaping @Sendable (any UnaryLayer) -> String?
  ) {
    self.make = make
    self.spec = spec
  }

  /// No structured layers: a checkpoint that has one is refused.
  public static let none = StructuredLayerFactory(
    make: { throw UnknownStructure(request: $0) }, spec: { _ in nil })

  /// A structured layer where none is expected.
  struct UnknownStructure: Error, CustomStringConvertible {
    let request: StructuredLayerRequest

    var description: String {
      "[checkpoint] expected dense layers only, got \(request.spec) as `\(request.path)`; "
        + "load the model with a factory of structured layers."
    }
  }
}
