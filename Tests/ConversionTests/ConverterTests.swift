import Foundation
import Layers
import MLX
import MLXNN
import Models
import OrderedCollections
import TestSupport
import Testing

@testable import Conversion

@Suite struct ConverterTests {
  private func withTexts<Result>(
    calibration: Int = 60, heldOut: Int = 30, _ body: (ExampleSource, URL) throws -> Result
  ) throws -> Result {
    try withTemporaryFolder { folder in
      let file = folder.appending(path: "texts.txt")
      try Data(SmallModel.sentences.joined(separator: "\n").utf8).write(to: file)
      return try body(ExampleSource(file, calibration: calibration, heldOut: heldOut), folder)
    }
  }

  private func options(_ spec: String, ratio: Double?, distill: Int = 0) throws
    -> ConversionOptions
  {
    ConversionOptions(
      rules: [try ConversionRule(parsing: spec, ratio: ratio, layers: ["encoder.*"])],
      fitExamples: 40, distillationSteps: distill, timedExamples: 2)
  }

  @Test(.enabled(if: Python.hasTokenizers, Python.missing))
  func aConversionIsReportedAndWritten() throws {
    try withTexts { texts, folder in
      let converter = try Converter(
        folder: SmallModel.folder, options: options("lowrank", ratio: 2, distill: 8))
      var seen: [String: [ConversionProgress]] = [:]
      let report = try converter.run(on: texts) { seen[$0.stage, default: []].append($0) }

      #expect(report.model == "bert-odd" && report.rules == ["lowrank at 1/2.0 for encoder.*"])
      #expect(report.stages.map(\.name) == ["fit", "distil layers", "distil end to end"])
      #expect(report.stages.allSatisfy { $0.fidelity.count == 30 && $0.seconds > 0 })
      #expect(Set(seen.keys) == Set(report.stages.map(\.name)))
      for stage in seen.values {
        #expect(stage.map(\.completed) == Array(1...stage.count))
        #expect(stage.allSatisfy { $0.total == stage.count })
      }
      #expect(seen["distil layers"]?.count == 2 && seen["distil end to end"]?.count == 6)

      #expect(report.layers.map(\.path) == converter.plan.layers.map(\.path))
      #expect(report.layers.count == 12 && report.multiplyAddRatio >= 2)
      for layer in report.layers {
        #expect(layer.multiplyAdds <= Double(layer.denseParameters) / 2)
        let error = try #require(layer.error)
        #expect(error > 0 && error < 1)
        #expect(layer.milliseconds > 0 && layer.denseMilliseconds > 0)
      }
      let saved = report.layers.reduce(0) { $0 + $1.denseParameters - $1.parameters }
      #expect(report.modelParameters[0] - report.modelParameters[1] == saved)
      #expect(report.modelMilliseconds.allSatisfy { $0 > 0 })

      let target = folder.appending(path: "out")
      try converter.write(to: target)
      let again = try SentenceEncoder(folder: target, structuredLayers: .standard)
      let batches = TokenBatches(SmallModel.sequences(6))
      try expectClose(
        again.embeddings(batches),
        #require(converter.converted as? ConvertibleSentenceEncoder).encoder.embeddings(batches),
        .roundings(64, of: .float32))
      #expect(throws: CheckpointError.self) { try converter.write(to: target) }
    }
  }

  @Test(.enabled(if: Python.hasTokenizers, Python.missing))
  func progressEndsAtItsTotalWithThePooler() throws {
    try withTexts { texts, _ in
      var options = try options("2:4", ratio: nil)
      options.rules = [try ConversionRule(parsing: "2:4", ratio: nil, layers: ["*"])]
      let converter = try Converter(folder: SmallModel.folder, options: options)
      var last: ConversionProgress?
      _ = try converter.run(on: texts) { last = $0 }
      let progress = try #require(last)
      #expect(progress.completed == progress.total && progress.total > 0)
    }
  }

  @Test(.enabled(if: Python.hasTokenizers, Python.missing))
  func anInterruptedConversionLeavesNothing() throws {
    struct Stop: Error {}
    try withTexts { texts, folder in
      let target = folder.appending(path: "out")
      let converter = try Converter(folder: SmallModel.folder, options: options("2:4", ratio: nil))
      var calls = 0
      #expect(throws: Stop.self) {
        _ = try converter.run(on: texts) { _ in
          calls += 1
          if calls == 3 { throw Stop() }
        }
        try converter.write(to: target)
      }
      #expect(calls == 3)
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["texts.txt"])
    }
  }

  @Test func aPlanThatCannotBeCarriedOutFailsBeforeTheWork() throws {
    #expect(throws: ConversionError.self) {
      try Converter(folder: SmallModel.folder, options: options("lowrank:rank=99", ratio: nil))
    }
    try withTexts(calibration: 4, heldOut: 3) { texts, _ in
      _ = #expect(throws: ConversionError.self) {
        try Sweep.run(
          folder: SmallModel.folder,
          options: [options("2:4", ratio: nil), options("btt:rank=99", ratio: nil)],
          on: texts
        ) { _, _ in Issue.record("work began") }
      }
    }
  }

  @Test(arguments: [(0, 3), (3, 2), (3, 0)])
  func tooFewTextsAreRefused(_ calibration: Int, _ heldOut: Int) throws {
    try withTexts(calibration: calibration, heldOut: heldOut) { texts, _ in
      let converter = try Converter(folder: SmallModel.folder, options: options("2:4", ratio: nil))
      let error = try #require(throws: ConversionError.self) { try converter.run(on: texts) }
      #expect(error.description.contains("got \(calibration) and \(heldOut)"))
    }
  }

  // MARK: - Back to dense

  private func writeFitted(_ spec: String, layers: [String], to target: URL) throws -> Pair {
    let pair = try Pair(spec, layers: layers)
    try pair.fit()
    try pair.converted.checkpoint.write(to: target)
    return pair
  }

  @Test(arguments: ["lowrank:rank=3", "2:4", "stl:rank=49", "btt:rank=1", "tt:rank=2"])
  func aDensifiedModelIsOrdinaryAndTheSame(_ spec: String) throws {
    try withTemporaryFolder { folder in
      let (structured, dense) = (folder.appending(path: "s"), folder.appending(path: "d"))
      let pair = try writeFitted(spec, layers: ["*.self.*", "*.intermediate.*"], to: structured)
      #expect(try Densification.run(folder: structured, to: dense) == 8)
      let files = try CheckpointFolder(url: dense)
      #expect(files.tensorNames == pair.original.checkpoint.folder.tensorNames)
      #expect(files.configuration.object["tessera"] == nil)
      // Loaded without a factory: nothing of it is ours.
      let plain = try SentenceEncoder(folder: dense)
      try expectClose(
        plain.embeddings(pair.heldOut), pair.converted.embeddings(pair.heldOut),
        .relative(1e-4))
    }
  }

  @Test func layersThatMixRowsHaveNoDenseForm() throws {
    try withTemporaryFolder { folder in
      let (structured, dense) = (folder.appending(path: "s"), folder.appending(path: "d"))
      let path = "encoder.layer.0.output.dense"
      let pair = try writeFitted("stl:rank=24", layers: [path], to: structured)
      let error = try #require(throws: ConversionError.self) {
        try Densification.run(folder: structured, to: dense)
      }
      #expect(error.description.contains(path) && error.description.contains("--approximate"))
      #expect(!FileManager.default.fileExists(atPath: dense.path))
      #expect(try Densification.run(folder: structured, to: dense, approximating: true) == 1)
      let embeddings = try SentenceEncoder(folder: dense).embeddings(pair.heldOut)
      #expect(
        try Fidelity(of: embeddings, to: pair.original.embeddings(pair.heldOut))[.cosine] > 0.5)
      #expect(throws: CheckpointError.self) {
        try Densification.run(folder: structured, to: dense, approximating: true)
      }
    }
  }

  // MARK: - Inspection

  @Test func inspectionCountsDenseAndStructuredLayers() throws {
    let pair = try Pair("lowrank:rank=3", layers: ["encoder.layer.0.intermediate.dense"])
    try pair.fit()
    let before = Inspection(pair.original.model)
    let after = Inspection(pair.converted.model)
    #expect(before.layers.count == 13 && before.layers.allSatisfy { $0.spec == "dense" })
    #expect(before.layers.map(\.path) == after.layers.map(\.path))
    let index = try #require(before.layers.firstIndex { $0.outputs == 51 })
    #expect(before.layers[index].parameters == 39 * 51)
    let layer = after.layers[index]
    #expect(layer.spec == "lowrank:rank=3" && layer.inputs == 39 && layer.outputs == 51)
    #expect(layer.parameters == 3 * 90 && layer.multiplyAdds == 270)
    #expect(before.modelParameters - after.modelParameters == 39 * 51 - 270)
    #expect(after.table.contains(layer.path) && after.table.contains("lowrank:rank=3"))
  }
}
