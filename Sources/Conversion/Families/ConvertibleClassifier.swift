import Foundation
import MLX
import Models
import Training

/// A classifier of images: examples are images, results are the logits of the classes.
final class ConvertibleClassifier: ConvertibleModel {
  static let amounts = ConversionAmounts(fitted: 512, probed: 128, timed: 32, judged: 1)

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

  func results(of last: MLXArray) -> MLXArray { last }

  func divergence(of results: MLXArray, from reference: MLXArray) -> MLXArray {
    mean(LogitMeasures.divergence(of: results, from: reference))
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

  // MARK: - Measures

  func comparison(
    on examples: Examples
  ) throws -> (_ other: any ConvertibleModel) throws -> Fidelity {
    let batches = try examples.batches()
    let count = classifier.classCount
    return { other in
      try LogitMeasures(of: other.model, against: self.model, on: batches)
        .classFidelity(classCount: count)
    }
  }

  func evaluation(
    on source: ExampleSource, against other: (any ConvertibleModel)?
  ) throws -> Fidelity {
    let examples = Examples(
      judging: try images(source, .validation), limit: source.heldOut, batch: source.batch ?? 32)
    let reference = other as? ConvertibleClassifier
    if let reference,
      (reference.classifier.classCount, reference.classifier.imageShape)
        != (classifier.classCount, classifier.imageShape)
    {
      throw ConversionError(
        "[evaluate] expected a model of the same images and \(classifier.classCount) classes, got "
          + "one of \(reference.classifier.classCount).")
    }
    return try LogitMeasures(of: model, against: reference?.model, on: examples.batches())
      .classFidelity(classCount: classifier.classCount)
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
