import MLX

/// A model of images: pixels → the logits of the classes.
public protocol ImageClassifier: CheckpointModel {
  /// The height, width and number of channels of an image.
  var imageShape: [Int] { get }
  /// The number of classes.
  var classCount: Int { get }

  /// The logits [B, classes] for images [B, height, width, channels] that have been checked.
  ///
  /// This is the part that `compile` and `valueAndGrad` can go through.
  func logits(images: MLXArray) -> MLXArray
}

extension ImageClassifier {
  /// The logits [B, classes] for images [B, height, width, channels].
  ///
  /// Throws ``ImageInputError``.
  public func callAsFunction(_ images: MLXArray) throws -> MLXArray {
    try ImageInputError.check(images, imageShape)
    return logits(images: images)
  }
}

/// What is wrong with the images that a model is given.
public enum ImageInputError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Another shape than the model's, or no image.
  case wrongShape(expected: [Int], got: [Int])
  /// Elements that are no floating-point numbers.
  case wrongType(DType)
  /// A model without an output layer for classes.
  case noClasses(modelType: String)

  /// The sentence.
  public var description: String {
    switch self {
    case .wrongShape(let expected, let got):
      "[images] expected [B, \(expected.map(String.init).joined(separator: ", "))] (height, width, "
        + "channels) with B of at least 1, got \(got); resize the images, channels last."
    case .wrongType(let type):
      "[images] expected floating-point pixels, got \(type.rawValue); scale them as the model was "
        + "trained."
    case .noClasses(let type):
      "[images] expected a model with a classifier, got a \(type) without; give it a folder that "
        + "has one."
    }
  }

  /// Throws if images are not what a model takes.
  static func check(_ images: MLXArray, _ shape: [Int]) throws {
    if let failure = images.failure { throw failure }
    guard images.ndim == 4, images.dim(0) > 0, Array(images.shape.dropFirst()) == shape else {
      throw ImageInputError.wrongShape(expected: shape, got: images.shape)
    }
    guard images.dtype.isFloatingPoint else { throw ImageInputError.wrongType(images.dtype) }
  }
}

extension ConfigurationFile {
  /// The number of classes, as transformers writes it: the names, or else their number, or 2.
  func classCount() throws -> Int {
    guard let names = try section("id2label") else {
      return try integer("num_labels", default: 2)
    }
    guard !names.object.keys.isEmpty else {
      throw illTyped("id2label", "at least one class", .object(names.object))
    }
    return names.object.keys.count
  }
}

/// Names for so many classes, as transformers reads their number.
func classNames(_ count: Int) -> JSON {
  var names = JSON.Object()
  for label in 0..<count { names["\(label)"] = .string("LABEL_\(label)") }
  return .object(names)
}
