import Encoders
import Foundation
import Layers
import MLX
import MLXNN
import Models
import Operators
import OrderedCollections
import TestSupport
import Testing

@testable import Conversion

@Suite struct FitBenchmarkTests {
  private func collected(_ patterns: [String]) throws -> (
    groups: [LayerInputs], model: BERTModel, fit: TokenBatches, held: TokenBatches
  ) {
    let model = try BERTCheckpoint(folder: CheckpointFolder(url: SmallModel.folder)).model
    let sequences = SmallModel.sequences(60)
    let (fit, held) = (
      TokenBatches(Array(sequences.prefix(40))), TokenBatches(Array(sequences.suffix(20)))
    )
    let groups = try LayerInputs.collect(
      of: model, layers: patterns.map { LayerPattern($0) }, tile: 4, calibration: fit.examples,
      heldOut: held.examples
    ) { _, _ in }
    return (groups, model, fit, held)
  }

  @Test func layersThatReadOneArrayAreAGroup() throws {
    let (groups, model, _, _) = try collected([
      "encoder.layer.0.attention.*", "encoder.layer.1.output.*",
    ])
    #expect(groups.map(\.layers.count) == [3, 1, 1])
    #expect(
      groups.flatMap { $0.layers.map(\.path) } == [
        "encoder.layer.0.attention.self.query", "encoder.layer.0.attention.self.key",
        "encoder.layer.0.attention.self.value", "encoder.layer.0.attention.output.dense",
        "encoder.layer.1.output.dense",
      ])
    for layer in groups[0].layers { #expect(model.namedModules()[layer.path] is Linear) }
    let error = try #require(throws: ConversionError.self) { try collected(["no.such.layer"]) }
    #expect(error.description.contains("'no.such.layer'"))
  }

  /// The second figure beside the first: the model is run again and its layers compared one by one.
  private func expectHeldOutErrors(
    _ group: LayerInputs, of model: any StagedModel, on batches: [ExampleBatch]
  ) throws {
    let exact = ["dense", "stl:rank=49,rows=\(group.rows.rawValue)"]
    for spec in ["lowrank:rank=6", "stl:rank=24,rows=\(group.rows.rawValue)"] + exact {
      for (index, (path, linear)) in group.layers.enumerated() {
        let structure = try OperatorSpec(parsing: spec).makeOperator(
          inputs: linear.inputDimensions, outputs: linear.outputDimensions)
        let parameters = try structure.fit(FitTarget(weight: linear.weight))
        let claimed = try group.heldOutError(index, structure, parameters)
        let bias = try group.bias(index, structure, parameters)
        #expect((bias == nil) == (linear.bias == nil))
        let layer = try StructuredLinear(structure, parameters: parameters, bias: bias)
        var (difference, size) = (0.0, 0.0)
        try observing(model, layers: [path]) { _, x, y in
          difference += (try? sum(square(layer(x) - y)).item(Double.self)) ?? .nan
          size += (try? sum(square(y)).item(Double.self)) ?? .nan
        } during: {
          for batch in batches { try eval(model.run(batch.inputs())) }
        }
        let measured = (difference / size).squareRoot()
        #expect(abs(claimed - measured) <= 1e-3 * measured + 1e-5, "\(path) \(spec)")
        #expect((claimed < 1e-4) == exact.contains(spec), "\(path) \(spec) \(claimed)")
      }
    }
  }

  @Test func heldOutErrorsAreThoseOfTheLayersOutputs() throws {
    let (groups, model, _, held) = try collected(["encoder.layer.0.attention.self.*"])
    try expectHeldOutErrors(groups[0], of: model, on: held.examples)
  }

  @Test(arguments: SmallFamily.allCases)
  func everyFamilyHasHeldOutErrors(_ family: SmallFamily) throws {
    try withTemporaryFolder { folder in
      let model = try family.load()
      let data = try model.data(from: family.source(in: folder, counts: [40, 16]))
      let held = try data.heldOut.batches()
      let groups = try LayerInputs.collect(
        of: model.model, layers: [LayerPattern(family.block)], tile: 4,
        calibration: data.calibration.batches(), heldOut: held
      ) { _, _ in }
      #expect(groups.allSatisfy { ($0.rows == .batch) == family.isLanguageModel })
      for group in groups { try expectHeldOutErrors(group, of: model.model, on: held) }
    }
  }

  @Test(arguments: SmallFamily.allCases)
  func everyFamilyIsFittedAndJudged(_ family: SmallFamily) throws {
    try withTemporaryFolder { folder in
      let source = try family.source(in: folder)
      let layers = [LayerPattern(family.block)]
      let benchmark = try FitBenchmark.run(
        folder: family.folder, layers: layers, ranks: [24, 48], on: source, alternations: 1)
      #expect(benchmark.examples.judged == 24 && benchmark.examples.fitted == 96)
      #expect(benchmark.examples.unit == (family.isLanguageModel ? "windows" : "images"))
      for row in benchmark.rows {
        let tiles = [row.library, row.own, row.shared].compactMap(\.self)
        #expect(tiles.allSatisfy { ($0.error < 1e-3) == (row.rank == 48) }, "\(row)")
        #expect(
          tiles.allSatisfy { $0.spec.contains("rows=batch") == family.isLanguageModel }, "\(row)")
        #expect((0.01...1).contains(row.twoFour.error), "\(row)")
      }
      // Gate and up read one array, as query, key and value do.
      if family == .llama {
        let together = benchmark.rows.filter { $0.shared != nil }.map(\.layer)
        #expect(together.contains { $0.hasSuffix("gate_proj") } && together.count == 10)
      }

      let (report, parameters) = try LayerEncoderReport.run(
        folder: family.folder, layers: layers,
        options: .init(encoder: .named("fitted-4-24"), alternations: 1), on: source)
      #expect(report.rows.count * 2 == benchmark.rows.count)
      #expect(report.table.contains("judged on 24 others"))
      let modules = try family.load().model.namedModules()
      for row in report.rows {
        let linear = try #require(modules[row.layer] as? Linear)
        #expect((parameters["\(row.layer).bias"] == nil) == (linear.bias == nil))
        #expect(parameters["\(row.layer).stl.encoder"]?.shape == [24, 16])
        #expect(row.error > 1e-3 && row.error < 1.2 && row.startError < 1.2, "\(row)")
      }
    }
  }

  @Test(.enabled(if: Python.hasTokenizers, Python.missing))
  func rivalsHaveTheCostThatTheTableSays() throws {
    let benchmark = try withTemporaryFolder { folder in
      let file = folder.appending(path: "texts.txt")
      try Data(SmallModel.sentences.joined(separator: "\n").utf8).write(to: file)
      return try FitBenchmark.run(
        folder: SmallModel.folder,
        layers: [LayerPattern("encoder.layer.0.attention.self.*")], ranks: [8, 24, 48],
        on: ExampleSource(file, calibration: 90, heldOut: 30), alternations: 1)
    }
    #expect(benchmark.rows.count == 9 && benchmark.examples.judged == 30 && benchmark.tiles > 90)
    #expect(benchmark.shrinkage.values.allSatisfy { (0...1).contains($0) })
    for row in benchmark.rows {
      let shared = try #require(row.shared)
      // A third of the encodings and tables each.
      #expect(shared.multiplyAdds < row.own.multiplyAdds && shared.parameters < row.own.parameters)
      #expect(row.library.multiplyAdds == row.own.multiplyAdds)
      #expect((row.lowRank == nil) == (row.own.multiplyAdds >= 1))
      #expect((row.lowRankOfEqualParameters == nil) == (row.own.parameters >= 1))
      for rival in [row.lowRank, row.btt].compactMap(\.self) {
        #expect(rival.multiplyAdds <= row.own.multiplyAdds && rival.error > 0)
      }
      for rival in [row.lowRankOfEqualParameters, row.bttOfEqualParameters].compactMap(\.self) {
        #expect(rival.parameters <= row.own.parameters)
      }
      #expect(row.twoFour.multiplyAdds <= 0.53)
      if row.rank == 48 {
        #expect([row.library, row.own, shared].allSatisfy { $0.error < 1e-3 }, "\(row)")
      }
    }
    let lines = benchmark.table.split(separator: "\n")
    #expect(lines.count { $0.contains("encoder.layer.0") } == 9)
    // A budget that the dense layer is within says so, and is no error of zero.
    #expect(benchmark.table.contains("dense"))
    let again = try JSONDecoder().decode(
      FitBenchmark.self, from: JSONEncoder().encode(benchmark))
    #expect(again.table == benchmark.table)
  }

  @Test(.enabled(if: Python.hasTokenizers, Python.missing))
  func encodersOfLayersComeWithTheParametersOfACheckpoint() throws {
    let encoder = try Encoder.named("fitted-4-24")
    func made(separately: Bool) throws -> (LayerEncoderReport, [String: MLXArray]) {
      try withTemporaryFolder { folder in
        let file = folder.appending(path: "texts.txt")
        try Data(SmallModel.sentences.joined(separator: "\n").utf8).write(to: file)
        return try LayerEncoderReport.run(
          folder: SmallModel.folder,
          layers: [LayerPattern("encoder.layer.0.attention.self.*")],
          options: .init(encoder: encoder, alternations: 2, separately: separately),
          on: ExampleSource(file, calibration: 90, heldOut: 30))
      }
    }
    let (shared, parameters) = try made(separately: false)
    #expect(shared.rows.count == 3 && parameters.count == 12)
    let prefix = "encoder.layer.0.attention.self"
    let tables = try ["query", "key", "value"].map {
      try #require(parameters["\(prefix).\($0).stl.encoder"])
    }
    for table in tables { try expectClose(table, tables[0], .absolute(0)) }
    let layer = StrassenTile(inputs: 39, outputs: 39, encoder: encoder)
    for (name, shape) in layer.shapes {
      #expect(parameters["\(prefix).query.stl.\(name)"]?.shape == shape)
    }
    #expect(parameters["\(prefix).query.bias"]?.shape == [39])
    for row in shared.rows {
      #expect(row.sharedBy == 3 && row.error < row.startError, "\(row)")
      #expect(row.warning?.contains("at least 240 tiles") != false)
    }
    let (separate, own) = try made(separately: true)
    #expect(separate.rows.allSatisfy { $0.sharedBy == 1 })
    let (query, key) = (own["\(prefix).query.stl.encoder"], own["\(prefix).key.stl.encoder"])
    #expect(try relativeError(#require(query), #require(key)) > 1e-3)
    #expect(shared.table.contains("fitted-4-24") && shared.table.contains("judged on 30 others"))
  }
}
