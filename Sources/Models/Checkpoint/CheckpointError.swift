import MLX

/// What is wrong with a checkpoint folder, or with the place where one is to be written.
public enum CheckpointError: Error, Hashable, Sendable, CustomStringConvertible {
  /// There is no folder at the path.
  case notAFolder(path: String)
  /// The folder lacks a file that every checkpoint has.
  case missingFile(folder: String, file: String)
  /// A file is not the JSON document that it should be.
  case notJSON(file: String, reason: String)
  /// A file has no such key.
  case missingKey(file: String, key: String)
  /// The value of a key has the wrong type or is out of range.
  case illTyped(file: String, key: String, expected: String, got: String)
  /// The value of a key asks for something that is not implemented.
  case unsupported(file: String, key: String, expected: String, got: String)
  /// An index names a tensor that its shard does not hold, or the other way round.
  case wrongIndex(file: String, tensor: String, shard: String)
  /// The model has a parameter that the checkpoint lacks.
  case missingTensors(folder: String, names: [String])
  /// A tensor does not have the shape that the configuration asks for.
  case wrongShape(folder: String, tensor: String, expected: [Int], got: [Int])
  /// A tensor holds integers where floating-point numbers belong, or the other way round.
  case wrongType(folder: String, tensor: String, expected: DType, got: DType)
  /// A structured layer is named that the model does not have as a dense layer.
  case unknownLayer(file: String, layer: String)
  /// There is something at the target already.
  case targetExists(path: String)
  /// The target is the source, lies inside it, or the other way round.
  case targetOverlapsSource(target: String, source: String)

  /// The sentence.
  public var description: String {
    switch self {
    case .notAFolder(let path):
      return "[checkpoint] expected a folder with a model at \(path), but there is none."
    case .missingFile(let folder, let file):
      return "[checkpoint] expected a file \(file) in \(folder), but there is none; "
        + "a model is a folder as Hugging Face lays it out."
    case .notJSON(let file, let reason):
      return "[checkpoint] expected a JSON object in \(file), but \(reason)."
    case .missingKey(let file, let key):
      return "[checkpoint] expected a key `\(key)` in \(file), but there is none."
    case .illTyped(let file, let key, let expected, let got):
      return "[checkpoint] \(file): expected \(expected) as `\(key)`, got \(got)."
    case .unsupported(let file, let key, let expected, let got):
      return "[checkpoint] \(file): `\(key)` is \(got), which is not supported; "
        + "supported: \(expected)."
    case .wrongIndex(let file, let tensor, let shard):
      return "[checkpoint] \(file) and \(shard) do not agree about tensor `\(tensor)`; "
        + "the download may be incomplete."
    case .missingTensors(let folder, let names):
      let shown = names.prefix(3).map { "`\($0)`" }.joined(separator: ", ")
      let rest = names.count > 3 ? " and \(names.count - 3) more" : ""
      return "[checkpoint] expected tensors for the whole model in \(folder), got none for "
        + "\(shown)\(rest); check that config.json belongs to these weights."
    case .wrongShape(let folder, let tensor, let expected, let got):
      return "[checkpoint] tensor `\(tensor)` in \(folder): expected shape \(expected) by "
        + "config.json, got \(got)."
    case .wrongType(let folder, let tensor, let expected, let got):
      return "[checkpoint] tensor `\(tensor)` in \(folder): expected elements like "
        + "\(expected.rawValue), got \(got.rawValue)."
    case .unknownLayer(let file, let layer):
      return "[checkpoint] \(file): `tessera` names the layer `\(layer)`, which is no dense layer "
        + "of this model."
    case .targetExists(let path):
      return "[checkpoint] expected a new folder as output, but \(path) exists; "
        + "name another, or use --force to replace it."
    case .targetOverlapsSource(let target, let source):
      return "[checkpoint] expected an output apart from the model, got \(target) for \(source); "
        + "name a folder outside it."
    }
  }
}
