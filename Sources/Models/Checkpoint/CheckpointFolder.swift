import FoundationEssentials
import MLX

/// A model as Hugging Face lays it out: a folder with `config.json`, weights in `model.safetensors`
/// or in shards that `model.safetensors.index.json` lists, and files of the tokenizer.
///
/// Opening reads and checks the headers of all weight files; tensors are read when asked for.
public struct CheckpointFolder: Sendable {
  /// The folder.
  public let url: URL
  /// The content of `config.json`.
  package let configuration: ConfigurationFile
  /// The open weight file that holds a tensor, by the tensor's name.
  private let files: [String: SafetensorsFile]

  static let configurationName = "config.json"
  static let weightsName = "model.safetensors"
  static let indexName = "model.safetensors.index.json"

  /// Opens a folder.
  ///
  /// Throws ``CheckpointError`` if a file is missing or `config.json` is no JSON object, and
  /// `SafetensorsError` if a weight file is damaged.
  public init(url: URL) throws {
    self.url = url
    let path = url.path(percentEncoded: false)
    var isFolder = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder else {
      throw CheckpointError.notAFolder(path: path)
    }
    configuration = try ConfigurationFile(
      url: url.appending(path: CheckpointFolder.configurationName))
    files = try CheckpointFolder.openWeights(in: url)
  }

  /// The path of the folder, for messages.
  public var path: String { url.path(percentEncoded: false) }

  /// The names of all tensors in order.
  public var tensorNames: [String] { files.keys.sorted() }

  /// The description of a tensor, `nil` if there is none of that name.
  public func tensor(_ name: String) -> SafetensorsHeader.Tensor? { files[name]?[name] }

  /// Reads a tensor.
  ///
  /// Throws if there is none of that name or it cannot be read.
  public func array(_ name: String) throws -> MLXArray {
    guard let file = files[name] else {
      throw CheckpointError.missingTensors(folder: path, names: [name])
    }
    return try file.array(name)
  }

  private static func openWeights(in folder: URL) throws -> [String: SafetensorsFile] {
    let single = folder.appending(path: weightsName)
    let index = folder.appending(path: indexName)
    let exists = { (url: URL) in
      FileManager.default.fileExists(atPath: url.path(percentEncoded: false))
    }
    if exists(single) {
      let file = try SafetensorsFile(url: single)
      return Dictionary(
        file.header.tensors.map { ($0.name, file) }, uniquingKeysWith: { first, _ in first })
    }
    guard exists(index) else {
      throw CheckpointError.missingFile(
        folder: folder.path(percentEncoded: false), file: weightsName)
    }
    return try openShards(index, in: folder)
  }

  private static func openShards(
    _ index: URL, in folder: URL
  ) throws -> [String: SafetensorsFile] {
    let file = try ConfigurationFile(url: index)
    guard let map = file.object["weight_map"] else {
      throw CheckpointError.missingKey(file: file.path, key: "weight_map")
    }
    guard let entries = map.object else {
      throw file.illTyped("weight_map", "an object", map)
    }
    var shards: [String: SafetensorsFile] = [:]
    var files: [String: SafetensorsFile] = [:]
    for (name, value) in entries.members {
      // A plain name: an index must not reach out of its folder.
      guard let shard = value.string, !shard.isEmpty, !shard.contains("/"), shard != ".." else {
        throw file.illTyped("weight_map.\(name)", "the name of a file beside the index", value)
      }
      let open = try shards[shard] ?? SafetensorsFile(url: folder.appending(path: shard))
      shards[shard] = open
      guard open[name] != nil else {
        throw CheckpointError.wrongIndex(file: file.path, tensor: name, shard: shard)
      }
      files[name] = open
    }
    for (name, shard) in shards {
      for tensor in shard.header.tensors where files[tensor.name] !== shard {
        throw CheckpointError.wrongIndex(file: file.path, tensor: tensor.name, shard: name)
      }
    }
    return files
  }
}
