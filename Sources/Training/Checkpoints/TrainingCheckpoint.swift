import Foundation
import MLX
import MLXNN
import Models
import OrderedCollections

/// The checkpoints of a run: whole folders named by their step, each a model as Hugging Face lays it
/// out with what is needed to go on beside it.
///
/// A folder is written under a temporary name, synchronised and renamed, so that every one with its
/// final name is whole, whenever the run was killed.
struct TrainingCheckpoints {
  /// The folder of the folders.
  let folder: URL

  /// The place of a run, beside the model's weights.
  struct State: Codable, Equatable {
    var version = 1
    /// How many steps are done.
    var step: Int
    /// The recipe as one JSON document.
    var recipe: String
    /// Seconds of training so far.
    var seconds: Double
  }

  static let stateName = "training.json"
  static let arraysName = "training.safetensors"

  /// The folder of a step.
  func url(step: Int) -> URL {
    let digits = String(step)
    let padding = String(repeating: "0", count: max(0, 8 - digits.count))
    return folder.appending(path: "step-\(padding)\(digits)")
  }

  /// The steps that have a checkpoint, the last one last.
  var steps: [Int] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    return names.compactMap { name in
      name.hasPrefix("step-") ? Int(name.dropFirst(5)) : nil
    }.sorted()
  }

  /// Deletes what a run that was killed left half-written.
  func removeRemains() {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    for name in names where name.hasPrefix(".step-") {
      try? FileManager.default.removeItem(at: folder.appending(path: name))
    }
  }

  /// Deletes all but the last so many.
  func prune(keeping count: Int) {
    for step in steps.dropLast(count) { try? FileManager.default.removeItem(at: url(step: step)) }
  }

  /// Writes the checkpoint of a step.
  ///
  /// `arrays` are those beside the model's, under names with a prefix of their kind.
  func write(_ state: State, model: any CheckpointModel, arrays: [String: MLXArray]) throws {
    try FileSystem.makeFolder(folder)
    try model.write(to: url(step: state.step), replacingExisting: true) { temporary in
      try save(
        arrays: arrays, metadata: [:], url: temporary.appending(path: Self.arraysName))
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
      try AtomicFile.write(
        String(decoding: try encoder.encode(state), as: UTF8.self) + "\n",
        to: temporary.appending(path: Self.stateName))
    }
  }

  /// The place of the run at a step.
  func state(step: Int) throws -> State {
    let file = url(step: step).appending(path: Self.stateName)
    do {
      return try JSONDecoder().decode(State.self, from: Data(contentsOf: file))
    } catch {
      throw TrainingError(
        "[resume] expected a checkpoint of a run at \(file.path(percentEncoded: false)), got a file "
          + "that is missing or damaged; delete its folder to resume from the one before.")
    }
  }

  /// Gives the model the weights of a step, and returns the other arrays.
  func load(step: Int, into model: any CheckpointModel) throws -> [String: MLXArray] {
    let url = url(step: step)
    let type = model.parameters().first { $0.value.dtype.isFloatingPoint }?.value.dtype
    let loaded = try ModelRegistry.load(
      CheckpointFolder(url: url), structuredLayers: .standard(insisting: true),
      dtype: type ?? .float32)
    try model.update(parameters: loaded.module.parameters())
    let arrays = try loadArrays(url: url.appending(path: Self.arraysName))
    return arrays
  }
}
