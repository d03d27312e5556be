import Foundation
import MLX
import Models
import Training

/// A classifier of images: examples are images, results are the logits of the classes.
final class ConvertibleClassifier: LogitModel {
  static let amounts = ConversionAmounts(
    unit: "images", fitted: 512, probed: 128, timed: 32, judged: 1)

  let checkpoint: any Checkpoint
  let model: any StagedModel
  private let classifier: any ImageClassifier

  /// Throws ``ImageInputError`` for a model of features alone.
  init?(_ checkpoint: any Checkpoint) throws {
    guard let classifier = checkpoint.module as? any ImageClassifier,
      let model = checkpoint.module as? any StagedModel
    else { return nil }
    if let failure = model.run(model.placeholder).failure { throw failure }
    self.checkpoint = checkpoint
    (self.model, self.classifier) = (model, classifier)
  }

  // MARK: - Examples

  func data(from source: ExampleSource) throws -> ConversionData {
    let batch = source.batch ?? 32
    return ConversionData(
      calibration: Examples(
        try images(source, .train), limit: source.calibration, batch: batch),
      heldOut: Examples(
        try images(source, .validation), limit: source.heldOut ?? 1000, batch: batch))
  }

  private func images(_ source: ExampleSource, _ part: DatasetPart) throws -> ImageSet {
    guard let url = source.url else {
      throw ConversionError(
        "[images] expected the folder of a set of images for a classifier, got none; prepare one "
          + "with `tessera data images` and name it.")
    }
    let set = try Dataset.open(at: url).images(part)
    let (expected, got) = (classifier.imageShape, [set.height, set.width, set.channels])
    guard expected == got else {
      func text(_ shape: [Int]) -> String { shape.map(String.init).joined(separator: "x") }
      throw ConversionError(
        "[images] expected images of \(text(expected)) (height, width, channels), got "
          + "\(text(got)); prepare the set with --size \(expected[0]).")
    }
    return try set.normalized(as: checkpoint.folder)
  }

  func judged(from source: ExampleSource) throws -> Examples {
    Examples(
      judging: try images(source, .validation), limit: source.heldOut, batch: source.batch ?? 32)
  }

  // MARK: - Measures

  func fidelity(_ measures: LogitMeasures) throws -> Fidelity {
    try measures.classFidelity(classCount: classifier.classCount)
  }

  func checkOutputs(like other: ConvertibleClassifier) throws {
    let (ours, theirs) = (classifier, other.classifier)
    guard (theirs.classCount, theirs.imageShape) != (ours.classCount, ours.imageShape) else {
      return
    }
    throw ConversionError(
      "[evaluate] expected a model of the same images and \(ours.classCount) classes, got "
        + "one of \(theirs.classCount).")
  }
}

extension ImageSet {
  /// The images scaled as a folder's `preprocessor_config.json` has it; as they are without one.
  fileprivate func normalized(as folder: CheckpointFolder) throws -> ImageSet {
    let url = folder.url.appending(path: "preprocessor_config.json")
    guard FileManager.default.fileExists(atPath: url.path(percentEncoded: false)) else {
      return self
    }
    let file = try ConfigurationFile(url: url)
    guard let means = try file.numbers("image_mean"), let deviations = try file.numbers("image_std")
    else { return self }
    return try normalized(means: means, deviations: deviations)
  }
}

extension ConfigurationFile {
  /// A list of numbers; `nil` where the key is missing or null.
  fileprivate func numbers(_ key: String) throws -> [Double]? {
    guard let value = object[key], value != .null else { return nil }
    let numbers = value.array?.compactMap(\.double)
    guard let numbers, numbers.count == value.array?.count else {
      throw illTyped(key, "a list of numbers", value)
    }
    return numbers
  }
}
