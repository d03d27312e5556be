import Foundation
import MLX

/// The examples that a run learns from, and those that it is judged by.
public struct TrainingData {
  /// What it learns from.
  public var train: any BatchSource
  /// What it is judged by, if there is any.
  public var validation: (any BatchSource)?

  /// Examples from anywhere.
  public init(train: any BatchSource, validation: (any BatchSource)? = nil) {
    self.train = train
    self.validation = validation
  }

  /// Opens what a recipe names: a safetensors file with `inputs`, `targets` and, if there are any,
  /// `validation_inputs` and `validation_targets`, which is read into memory.
  ///
  /// Throws a sentence where there is no such thing.
  public static func open(_ url: URL, seed: UInt64) throws -> TrainingData {
    let path = url.path(percentEncoded: false)
    guard url.pathExtension == "safetensors", FileManager.default.fileExists(atPath: path) else {
      throw TrainingError(
        "[data] expected a prepared data set or a .safetensors file as `data`, got \(path).")
    }
    let arrays = try loadArrays(url: url)
    guard let inputs = arrays["inputs"], let targets = arrays["targets"] else {
      throw TrainingError(
        "[data] expected tensors `inputs` and `targets` in \(path), got "
          + "\(arrays.keys.sorted().joined(separator: ", ")).")
    }
    var data = TrainingData(
      train: try ArraySource(inputs: inputs, targets: targets, seed: seed))
    if let inputs = arrays["validation_inputs"], let targets = arrays["validation_targets"] {
      data.validation = try ArraySource(inputs: inputs, targets: targets)
    }
    return data
  }
}
