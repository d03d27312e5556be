import Foundation
import MLX

/// The examples that a run learns from, and those that it is judged by.
public struct TrainingData {
  /// What it learns from.
  public var train: any BatchSource
  /// What it is judged by, if there is any.
  public var validation: (any BatchSource)?

  /// What tokens, or classes, are below, where that is known without looking at all of them.
  public var targetCount: Int?

  /// The tokenizer that made the tokens, where it is known: a Hugging Face `tokenizer.json`.
  public var tokenizer: URL?

  /// Examples from anywhere.
  public init(train: any BatchSource, validation: (any BatchSource)? = nil) {
    self.train = train
    self.validation = validation
  }

  /// Opens what a recipe names: a set that `tessera data` prepared, or a safetensors file with
  /// `inputs`, `targets` and, if there are any, `validation_inputs` and `validation_targets`, which is
  /// read into memory.
  ///
  /// Texts come as windows of `length` tokens. Throws a sentence where there is no such thing.
  public static func open(
    _ url: URL, length: Int, augmentation: ImageAugmentation = .none, seed: UInt64
  ) throws -> TrainingData {
    guard url.pathExtension != "safetensors" else { return try file(url, seed: seed) }
    let set = try Dataset.open(at: url)
    var data: TrainingData
    switch set.header.kind {
    case .tokens(let vocabularySize, _):
      data = TrainingData(
        train: try set.tokens(.train, length: length, seed: seed).prefetched(),
        validation: try set.tokens(.validation, length: length))
      data.targetCount = vocabularySize
      let tokenizer = set.tokenizer.path(percentEncoded: false)
      data.tokenizer = FileManager.default.fileExists(atPath: tokenizer) ? set.tokenizer : nil
    case .images(_, _, _, let classes):
      data = TrainingData(
        train: try set.images(.train, augmentation: augmentation, seed: seed).prefetched(),
        validation: try set.images(.validation))
      data.targetCount = classes.count
    }
    return data
  }

  private static func file(_ url: URL, seed: UInt64) throws -> TrainingData {
    let path = url.path(percentEncoded: false)
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
