import Foundation
import MLX
import Models
import TestSupport
import Testing

@testable import Conversion
@testable import Training

/// The small random checkpoints of language models and classifiers, with prepared sets for them.
enum SmallFamily: String, CaseIterable, CustomTestStringConvertible {
  case gpt2 = "gpt2-odd"
  case llama = "llama-odd"
  case vit = "vit-odd"
  case t2t = "t2t-odd"
  case mlp = "mlp-odd"

  var testDescription: String { rawValue }

  static let languageModels: [SmallFamily] = [.gpt2, .llama]

  var folder: URL { SmallModel.golden.appending(path: rawValue) }

  var isLanguageModel: Bool { Self.languageModels.contains(self) }

  /// A pattern for layers that repeat, the first of them.
  var block: String {
    switch self {
    case .gpt2: "transformer.h.0.*"
    case .llama: "model.layers.0.*"
    case .vit: "vit.encoder.layer.0.*"
    case .t2t: "blocks.0.*"
    case .mlp: "layers.0"
    }
  }

  func load() throws -> any ConvertibleModel { try ConvertibleModels.load(folder) }

  func converter(_ rules: ConversionRule..., distill: Int = 0) throws -> Converter {
    try Converter(
      folder: folder,
      options: ConversionOptions(rules: rules, distillationSteps: distill, timedExamples: 4))
  }

  /// Random examples with random targets, in a new set `set`.
  func source(in folder: URL, counts: [Int] = [96, 24]) throws -> ExampleSource {
    let set = folder.appending(path: "set")
    let batch: Int
    if isLanguageModel {
      try Self.writeTokens(set, counts: counts.map { $0 * 12 + 1 }, vocabularySize: 95)
      batch = 8
    } else {
      let model = try load().model
      let classifier = try #require(model as? any ImageClassifier)
      try Self.writeImages(
        set, counts: counts, shape: classifier.imageShape, classes: classifier.classCount)
      batch = 8
    }
    return ExampleSource(set, length: isLanguageModel ? 12 : nil, batch: batch)
  }

  static func writeTokens(_ folder: URL, counts: [Int], vocabularySize: Int) throws {
    var generator = SplitMix(state: 3)
    _ = try Dataset.write(to: folder) { folder in
      var arrays: [DatasetPart: [String: (dtype: DType, shape: [Int])]] = [:]
      for (part, count) in zip(DatasetPart.allCases, counts) {
        let tokens = (0..<count).map { _ in
          UInt16.random(in: 0..<UInt16(vocabularySize), using: &generator).littleEndian
        }
        try tokens.withUnsafeBytes { Data($0) }
          .write(to: folder.appending(path: DatasetHeader.file(part, "tokens")))
        try [UInt64(count)].withUnsafeBytes { Data($0) }
          .write(to: folder.appending(path: DatasetHeader.file(part, "ends")))
        arrays[part] = ["tokens": (.uint16, [count]), "ends": (.uint64, [1])]
      }
      return (.tokens(vocabularySize: vocabularySize, separator: 0), arrays, [:])
    }
  }

  static func writeImages(_ folder: URL, counts: [Int], shape: [Int], classes: Int) throws {
    var generator = SplitMix(state: 4)
    _ = try Dataset.write(to: folder) { folder in
      var arrays: [DatasetPart: [String: (dtype: DType, shape: [Int])]] = [:]
      for (part, count) in zip(DatasetPart.allCases, counts) {
        let size = count * shape.reduce(1, *)
        try Data((0..<size).map { _ in UInt8.random(in: 0...255, using: &generator) })
          .write(to: folder.appending(path: DatasetHeader.file(part, "images")))
        let labels = (0..<count).map { _ in
          Int32.random(in: 0..<Int32(classes), using: &generator).littleEndian
        }
        try labels.withUnsafeBytes { Data($0) }
          .write(to: folder.appending(path: DatasetHeader.file(part, "labels")))
        arrays[part] = ["images": (.uint8, [count] + shape), "labels": (.int32, [count])]
      }
      return (
        .images(
          height: shape[0], width: shape[1], channels: shape[2],
          classes: (0..<classes).map { "\($0)" }), arrays,
        [
          "mean": [Double](repeating: 0.5, count: shape[2]),
          "deviation": [Double](repeating: 0.25, count: shape[2]),
        ]
      )
    }
  }
}
