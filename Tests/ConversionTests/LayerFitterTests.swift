import Layers
import MLX
import MLXNN
import Models
import Operators
import OrderedCollections
import TestSupport
import Testing

@testable import Conversion

@Suite struct LayerFitterTests {
  // MARK: - Observation

  @Test func observersSeeInputsAndOutputsAndLeaveNoTrace() throws {
    let model = try BERTCheckpoint(folder: CheckpointFolder(url: SmallModel.folder)).model
    let tokens = MLXArray([2, 40, 50, 3] as [Int32], [1, 4])
    let before = model.hiddenStates(tokens: tokens)
    let paths = ["encoder.layer.1.intermediate.dense", "encoder.layer.0.attention.self.query"]
    var seen: [String: (x: MLXArray, y: MLXArray)] = [:]
    let during = try observing(model, layers: paths) { path, x, y in
      seen[path] = (x, y)
    } during: {
      model.hiddenStates(tokens: tokens)
    }
    try expectClose(during, before, .absolute(0))
    #expect(Set(seen.keys) == Set(paths))
    let modules = model.namedModules()
    for path in paths {
      let (x, y) = try #require(seen[path])
      let layer = try #require(modules[path] as? Linear)
      #expect(x.shape == [1, 4, 39] && y.shape == [1, 4, layer.outputDimensions])
      try expectClose(y, layer(x), .roundings(8, of: .float32))
    }
  }

  @Test func theModelIsRestoredWhenTheBodyThrows() throws {
    struct Stop: Error {}
    let model = try BERTCheckpoint(folder: CheckpointFolder(url: SmallModel.folder)).model
    let path = "encoder.layer.0.attention.self.query"
    #expect(throws: Stop.self) {
      try observing(model, layers: [path], { _, _, _ in }, during: { throw Stop() })
    }
    #expect(model.namedModules()[path] is Linear)
    let error = try #require(throws: ConversionError.self) {
      try observing(model, layers: ["no.such.layer"], { _, _, _ in }, during: {})
    }
    #expect(error.description.contains("no.such.layer"))
  }

  // MARK: - Fits

  @Test(arguments: ["lowrank:rank=39", "stl:rank=49"])
  func aLosslessStructureKeepsTheModel(_ spec: String) throws {
    let pair = try Pair(spec)
    try pair.fit()
    let layers = pair.converted.model.namedModules().values.filter { $0 is StructuredLinear }
    #expect(layers.count == 12 && pair.plan.layers.count == 12)
    let fidelity = try pair.fidelity()
    #expect(fidelity[.worstCosine] >= 1 - 1e-5, "\(fidelity)")
    let errors = try pair.errors(pair.heldOut, layers: pair.plan.layers)
    #expect(errors.count == 12 && errors.values.allSatisfy { $0 <= 1e-2 }, "\(errors)")
  }

  /// Query, key and value of the first block get the same inputs whatever becomes of the others:
  /// their errors can be compared one by one.
  @Test(arguments: [
    "lowrank:rank=8", "btt:rank=2", "monarch:blocks=3", "kronecker", "tt:rank=3", "2:4",
    "stl:rank=24", "stl:rank=24,rows=batch", "stl:rank=24,rows=flat",
  ])
  func fitsOnRealInputsAreBetterThanPlainOnes(_ spec: String) throws {
    let pair = try Pair(spec, layers: ["encoder.layer.0.*.self.*"])
    let layers = pair.plan.layers
    var plain: [(key: String, value: Module)] = []
    for (path, layer) in try unaryLayers(of: pair.original.model, at: layers.map(\.path)) {
      let dense = try #require(layer as? Linear)
      let structure = try #require(layers.first { $0.path == path }).structure
      let parameters = try structure.fit(FitTarget(weight: dense.weight))
      plain.append(
        (path, try StructuredLinear(structure, parameters: parameters, bias: dense.bias)))
    }
    try pair.converted.model.update(modules: plain)
    let before = try pair.errors(pair.training, layers: layers)
    let fresh = try Pair(spec, layers: ["encoder.layer.0.*.self.*"])
    try fresh.fit()
    let after = try fresh.errors(fresh.training, layers: layers)
    #expect(before.count == 3 && after.count == 3)
    for (path, error) in before {
      // The figures are of float32 sums; a ridge keeps the fit a little off the optimum.
      let fitted = try #require(after[path])
      #expect(fitted <= error * 1.02, "\(path): \(fitted), plain \(error)")
    }
    let (a, b) = (after.values.reduce(0, +), before.values.reduce(0, +))
    #expect(a < 0.98 * b, "\(a), plain \(b)")
  }

  @Test func aLayerWithoutInputsIsFittedToItsWeight() throws {
    let pair = try Pair("lowrank:rank=39", layers: ["pooler.dense"])
    let dense = try #require(pair.original.model.namedModules()["pooler.dense"] as? Linear)
    try pair.fit()
    let layer = try #require(
      pair.converted.model.namedModules()["pooler.dense"] as? StructuredLinear)
    let back = try #require(layer.densified())
    try expectClose(back.weight, dense.weight, .relative(1e-4))
    try expectClose(#require(layer.bias), #require(dense.bias), .absolute(0))
    #expect(try pair.errors(pair.heldOut, layers: pair.plan.layers).isEmpty)
  }

  /// Query, key and value of the second block get what the first has become, and are to give what
  /// the original gave.
  @Test func laterBlocksMakeUpForWhatEarlierOnesLost() throws {
    let pair = try Pair("lowrank:rank=6")
    let paths = ["query", "key", "value"].map { "encoder.layer.1.attention.self.\($0)" }
    func rows(_ model: BERTModel, _ isInput: Bool) throws -> [String: MLXArray] {
      var parts: [String: [MLXArray]] = [:]
      try observing(model, layers: paths) { path, x, y in
        parts[path, default: []].append((isInput ? x : y).reshaped([-1, 39]))
      } during: {
        for batch in pair.training { _ = model.hiddenStates(tokens: batch.array) }
      }
      return parts.mapValues { concatenated($0, axis: 0) }
    }
    // Fitted to the original's own inputs, as if nothing had been lost before.
    let blind = try Pair("lowrank:rank=6", layers: paths)
    try blind.fit()
    try pair.fit()
    let inputs = try rows(pair.converted.model, true)
    let wanted = try rows(pair.original.model, false)
    for path in paths {
      let (x, y) = (try #require(inputs[path]), try #require(wanted[path]))
      let errors = try [pair, blind].map { pair in
        let layer = try #require(
          pair.converted.model.namedModules()[path] as? StructuredLinear)
        return try relativeError(layer(x), y)
      }
      #expect(errors[0] < errors[1], "\(path): \(errors)")
    }
  }

  /// The laws above are about single layers; this is what they are for.
  @Test func fittingInOrderIsBetterThanWholeBlocks() throws {
    let spec = "lowrank:rank=4"
    let (inOrder, blocks) = (try Pair(spec, texts: 300), try Pair(spec, texts: 300))
    try inOrder.fit()
    let fitter = try LayerFitter(
      original: blocks.original.model, converted: blocks.converted.model,
      batches: blocks.training.examples)
    for index in 0..<2 {
      try fitter.fit(
        blocks.plan.layers.filter { $0.path.hasPrefix("encoder.layer.\(index).") }
      ) {}
    }
    let (better, worse) = (try inOrder.fidelity()[.cosine], try blocks.fidelity()[.cosine])
    #expect(better > worse + 0.02, "\(better), whole blocks \(worse)")
  }
}
