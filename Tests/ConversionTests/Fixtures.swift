import Foundation
import MLX
import MLXNN
import Models
import Operators
import OrderedCollections
import Reports
import TestSupport
import Testing

@testable import Conversion

/// Whether texts can be split into tokens here.
enum Python {
  static let hasTokenizers =
    (try? PythonInterpreter.find().folder(ofPackage: "tokenizers")) != nil
  static let missing: Comment = "the Python package tokenizers is not installed"
}

/// The small model twice, as it was and as it becomes, and texts for it.
struct Pair {
  let original: SentenceEncoder
  let converted: SentenceEncoder
  let plan: ConversionPlan
  let training: TokenBatches
  let heldOut: TokenBatches

  init(_ spec: String, layers: [String] = ["encoder.*"], texts: Int = 80) throws {
    original = try SentenceEncoder(folder: SmallModel.folder, structuredLayers: .standard)
    converted = try SentenceEncoder(folder: SmallModel.folder, structuredLayers: .standard)
    plan = try ConversionPlan(
      for: converted.model,
      rules: [ConversionRule(parsing: spec, ratio: nil, layers: layers)])
    let sequences = SmallModel.sequences(texts + 24)
    training = TokenBatches(Array(sequences.prefix(texts)))
    heldOut = TokenBatches(Array(sequences.suffix(24)))
  }

  func fit() throws {
    let fitter = try LayerFitter(
      original: original.model, converted: converted.model, batches: training.examples)
    for group in plan.groups { try fitter.fit(group) {} }
  }

  func fidelity() throws -> Fidelity {
    try Fidelity(of: converted.embeddings(heldOut), to: original.embeddings(heldOut))
  }

  func errors(_ batches: TokenBatches, layers: [ConversionPlan.Layer]) throws -> [String: Double] {
    try layerErrors(
      of: converted.model, against: original.model, layers: layers.map(\.path),
      batches: batches.examples)
  }
}

extension TokenBatches {
  /// The batches as conversion has them.
  var examples: [ExampleBatch] {
    batches.map { batch in ExampleBatch(count: batch.tokens.count) { (batch.array, nil) } }
  }
}

extension MachineSheet {
  static let example = MachineSheet(
    processor: "a processor", cores: 2, gpu: nil, engine: "MLX 1.2.3", blas: "libblas.so",
    date: "2026-01-02")
}

extension ConversionReport {
  /// A report of two layers whose names have to be escaped.
  static func example(cosine: Double = 0.96) -> ConversionReport {
    let fidelity = Fidelity.example(cosine: cosine)
    return ConversionReport(
      model: "a<b>&\"c\"", rules: ["btt at 1/2.0 for <x>"],
      stages: [
        StageReport(name: "fit", seconds: 1.5, fidelity: .example(cosine: 0.9)),
        StageReport(name: "distil end to end", seconds: 2.5, fidelity: fidelity),
      ],
      layers: [
        LayerReport(
          path: "encoder.layer.0.query", spec: "lowrank:rank=2", inputs: 8, outputs: 4, error: 0.25,
          parameters: 24, multiplyAdds: 24, milliseconds: 0.5, denseMilliseconds: 1),
        LayerReport(
          path: "layer<script>", spec: "2:4", inputs: 8, outputs: 6, error: nil, parameters: 24,
          multiplyAdds: 24, milliseconds: 0.25, denseMilliseconds: 0.5),
      ],
      modelParameters: [100, 68], modelMilliseconds: [3, 2], batch: [4, 7], machine: .example)
  }
}

extension Fidelity {
  /// A fidelity that was measured on three vectors, with another mean cosine.
  static func example(cosine: Double) -> Fidelity {
    let x = MLXArray([1, 0, 0, 1, 1, 1] as [Float], [3, 2])
    guard var fidelity = try? Fidelity(of: x, to: x) else {
      preconditionFailure("three vectors are enough")
    }
    fidelity[.cosine] = cosine
    return fidelity
  }
}
