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

@Suite struct FamilyConversionTests {
  private func rule(_ text: String, _ layers: String...) throws -> ConversionRule {
    try ConversionRule(parsing: text, ratio: nil, layers: layers)
  }

  // MARK: - Stages

  @Test(arguments: SmallFamily.allCases)
  func theStagesAreTheModel(_ family: SmallFamily) throws {
    let model = try family.load().model
    let (inputs, whole): (MLXArray, MLXArray)
    if let model = model as? any LanguageModel {
      inputs = MLXArray((0..<14).map { Int32($0 * 5) }, [2, 7])
      whole = model.logits(tokens: inputs, cache: nil)
    } else {
      let classifier = try #require(model as? any ImageClassifier)
      inputs = MLXRandom.normal([2] + classifier.imageShape, key: MLXRandom.key(0))
      whole = classifier.logits(images: inputs)
    }
    try expectClose(model.run(inputs), whole, .roundings(64, of: .float32))
    let states = model.states(of: inputs)
    #expect(states.count == model.stageCount && model.stack.upperBound == model.stageCount - 1)
    try expectClose(
      model.run(states[model.stack.lowerBound], from: model.stack.lowerBound + 1), whole,
      .roundings(64, of: .float32))
  }

  @Test func layersThatReadOneArrayAreOneGroup() throws {
    func groups(_ family: SmallFamily) throws -> [Int] {
      try ConversionPlan(for: family.load().model, rules: [rule("2:4", "*")]).groups.map(\.count)
    }
    #expect(try groups(.gpt2) == [1, 1, 1, 1, 1, 1, 1, 1])
    #expect(try groups(.llama) == [3, 1, 2, 1, 3, 1, 2, 1, 1])
    #expect(try groups(.vit) == [1, 3, 1, 1, 1, 3, 1, 1, 1, 1])
    #expect(try groups(.mlp) == [1, 1, 1])
  }

  @Test(arguments: SmallFamily.allCases)
  func withoutPatternsTheEndsOfAModelStay(_ family: SmallFamily) throws {
    let kept = try ConversionPlan(for: family.load().model, rules: [rule("2:4")]).kept
    let ends: [SmallFamily: [String]] = [
      .gpt2: [], .llama: ["lm_head"], .mlp: ["layers.2"],
      .vit: ["vit.embeddings.patch_embeddings.projection", "classifier"],
    ]
    if let ends = ends[family] { #expect(kept == ends) }
    if family == .t2t {
      #expect(kept.last == "head")
      #expect(kept.dropLast().allSatisfy { $0.hasPrefix("tokens_to_token.") })
    }
  }

  // MARK: - Conversion

  /// What can be the dense layer is it afterwards.
  @Test(
    arguments: SmallFamily.allCases.map { ($0, "monarch:blocks=1") } + [
      (.gpt2, "stl:rank=49"), (.mlp, "stl:rank=49,rows=batch"),
    ])
  func aLosslessStructureKeepsTheLogits(_ family: SmallFamily, _ spec: String) throws {
    try withTemporaryFolder { folder in
      let source = try family.source(in: folder)
      let converter = try family.converter(rule(spec, "*"))
      let report = try converter.run(on: source)
      #expect(report.layers.count == converter.plan.layers.count && report.layers.count >= 3)
      let inputs = try converter.original.data(from: source).heldOut.batches()[0].inputs()
      try expectClose(
        converter.converted.model.run(inputs), converter.original.model.run(inputs),
        // Rounding passes the exponentials of T2T-ViT's attention: up to 1.3e-4, by the BLAS of the processor.
        .relative(family == .t2t ? 3e-4 : 1e-4))
      #expect(try #require(report.fidelity)[.divergence] < 1e-6)
      #expect(report.fidelity?[.agreement] == 1)
    }
  }

  @Test(arguments: SmallFamily.allCases)
  func aConversionIsDistilledReportedAndWritten(_ family: SmallFamily) throws {
    try withTemporaryFolder { folder in
      // The logits of the T2T-ViT hardly differ between random images, and are slow to learn.
      let source = try family.source(in: folder, counts: [160, 40])
      let converter = try family.converter(
        rule("lowrank:rank=4", "*"), distill: family == .t2t ? 120 : 40)
      let report = try converter.run(on: source)
      #expect(report.stages.map(\.name) == ["fit", "distil layers", "distil end to end"])
      let fidelity = try #require(report.fidelity)
      let divergences = report.stages.map { $0.fidelity[.divergence] }
      #expect(divergences[2] < divergences[0], "\(divergences)")
      #expect(fidelity.count == (family.isLanguageModel ? 40 * 12 : 40))
      #expect(fidelity.measures.count == 4 && fidelity.measures.contains(.agreement))
      #expect(report.layers.allSatisfy { ($0.error ?? -1) > 0 && $0.milliseconds > 0 })
      let page = report.html()
      #expect(page.contains("same first choice") && page.contains(report.layers[0].path))
      #expect(Sweep(reports: [report]).table.contains("KL"))

      let target = folder.appending(path: "out")
      try converter.write(to: target)
      let again = try ConvertibleModels.load(target)
      let inputs = try converter.original.data(from: source).heldOut.batches()[0].inputs()
      try expectClose(
        again.model.run(inputs), converter.converted.model.run(inputs),
        .roundings(256, of: .float32))
      let layers = again.model.namedModules().values.filter { $0 is StructuredLinear }
      #expect(layers.count == report.layers.count)
      #expect(throws: CheckpointError.self) { try converter.write(to: target) }
    }
  }

  /// A bias that the format has no place for would be lost on the way to the disk.
  @Test(arguments: [SmallFamily.llama, .t2t])
  func layersWithoutBiasesGetNone(_ family: SmallFamily) throws {
    try withTemporaryFolder { folder in
      let converter = try family.converter(rule("2:4", "*"))
      let before = converter.original.model.namedModules()
      _ = try converter.run(on: family.source(in: folder, counts: [32, 8]))
      for (path, module) in converter.converted.model.namedModules() {
        guard let layer = module as? StructuredLinear else { continue }
        #expect((layer.bias == nil) == ((before[path] as? Linear)?.bias == nil), "\(path)")
      }
    }
  }

  @Test(arguments: [SmallFamily.gpt2, .vit])
  func aBudgetIsSharedOutByTheLogits(_ family: SmallFamily) throws {
    try withTemporaryFolder { folder in
      let converter = try family.converter(
        ConversionRule(parsing: "lowrank,2:4", budget: 1.6, layers: ["*"]))
      var stages: Set<String> = []
      let report = try converter.run(on: family.source(in: folder)) { stages.insert($0.stage) }
      #expect(stages == ["plan", "fit"])
      #expect(report.multiplyAddRatio >= 1.6)
      #expect(Set(report.layers.map(\.spec)).count > 1)
    }
  }

  @Test(.enabled(if: Python.hasTokenizers, Python.missing))
  func textsBecomeWindowsThatShareNone() throws {
    try withTemporaryFolder { folder in
      let file = folder.appending(path: "text.txt")
      var generator = SplitMix(state: 5)
      let text = String(
        (0..<715).map { _ in
          Character(Unicode.Scalar(UInt8.random(in: 33...126, using: &generator)))
        })
      try Data(text.utf8).write(to: file)
      let model = try SmallFamily.gpt2.load()
      let data = try model.data(
        from: ExampleSource(file, heldOut: 8, length: 10, batch: 4))
      func rows(_ examples: Examples) throws -> [[Int32]] {
        try examples.batches().flatMap { batch in
          let (inputs, targets) = try batch()
          let flat = try inputs.asArray(Int32.self)
          let next = try #require(targets).asArray(Int32.self)
          #expect(inputs.shape == [4, 10] && targets?.shape == [4, 10])
          for row in 0..<4 {
            #expect(flat[(row * 10 + 1)..<(row * 10 + 10)] == next[row * 10..<(row * 10 + 9)])
          }
          return (0..<4).map { Array(flat[$0 * 10..<($0 + 1) * 10]) }
        }
      }
      let (seen, held) = (try rows(data.calibration), try rows(data.heldOut))
      #expect(data.heldOut.count == 8 && held.count == 8)
      // Of the 71 windows 8 are held out, and 3 fill no batch.
      #expect(seen.count == 60)
      #expect(Set(seen).isDisjoint(with: held))
    }
  }

  // MARK: - Causality

  @Test(arguments: SmallFamily.languageModels)
  func aConvertedLanguageModelSeesNoLaterToken(_ family: SmallFamily) throws {
    try withTemporaryFolder { folder in
      let converter = try family.converter(rule("stl:rank=24,rows=batch", "*"), distill: 12)
      _ = try converter.run(on: family.source(in: folder))
      let model = converter.converted.model
      let base = MLXArray((0..<32).map { Int32($0 * 11 % 95) }, [4, 8])
      for token in 1..<8 {
        let moved = concatenated(
          [base[0..., ..<token], (base[0..., token...] + 17) % MLXArray(Int32(95))], axis: 1)
        let leak = try LeakTest.leak(of: { model.run($0) }, from: base, to: moved, before: token)
        #expect(leak.forbidden == 0 && leak.allowed > 1e-3, "\(leak)")
      }
    }
  }

  /// A row alone fills its tiles with zeros, whatever came before it: the cache changes nothing.
  @Test(arguments: SmallFamily.languageModels)
  func aConvertedLanguageModelGeneratesWithACache(_ family: SmallFamily) throws {
    try withTemporaryFolder { folder in
      let converter = try family.converter(rule("stl:rank=24,rows=batch"))
      _ = try converter.run(on: family.source(in: folder))
      let model = try #require(converter.converted.model as? any LanguageModel)
      var tokens: [Int32] = [5, 17, 40]
      let generated = try model.generate(prompt: tokens, count: 9)
      for token in generated {
        let logits = model.nextLogits(tokens: MLXArray(tokens, [1, tokens.count]), cache: nil)
        #expect(try logits.argMax(axis: -1).item(Int32.self) == token)
        tokens.append(token)
      }
    }
  }

  @Test(arguments: SmallFamily.languageModels)
  func structuresThatLookAheadAreRefused(_ family: SmallFamily) throws {
    let mixing = try #require(throws: ConversionError.self) {
      try family.converter(rule("stl:rank=24"))
    }
    #expect(mixing.description.contains("rows=batch"))
    // Exact as it is fitted, it could learn to be otherwise.
    _ = try family.converter(rule("stl:rank=49"))
    let learning = try #require(throws: ConversionError.self) {
      try family.converter(rule("stl:rank=49"), distill: 1)
    }
    #expect(learning.description.contains("rows=batch"))
  }

  // MARK: - Measures

  @Test(arguments: SmallFamily.allCases)
  func measuresAreThoseOfTheirDefinitions(_ family: SmallFamily) throws {
    try withTemporaryFolder { folder in
      let source = try family.source(in: folder)
      let model = try family.load()
      var (loss, hits, count) = (0.0, 0.0, 0.0)
      for batch in try model.data(from: source).heldOut.batches() {
        let (inputs, targets) = try batch()
        let logits = model.model.run(inputs)
        loss += try crossEntropy(
          logits: logits, targets: #require(targets), reduction: .sum
        ).item(Double.self)
        let right = logits.argMax(axis: -1).asType(.int32) .== (try #require(targets))
        hits += try right.asType(.float32).sum().item(Double.self)
        count += Double(try #require(targets).size)
      }
      let alone = try model.evaluation(on: source, against: nil)
      #expect(Double(alone.count) == count && alone.measures.count == 1)
      expectClose(
        [alone[family.isLanguageModel ? .perplexity : .accuracy]],
        [family.isLanguageModel ? exp(loss / count) : hits / count], .relative(1e-4))
      // Neither the size of a batch nor what is left of the last one counts.
      var odd = source
      odd.batch = 5
      let again = try model.evaluation(on: odd, against: nil)
      #expect(again.count == alone.count)
      expectClose(again.values.map(\.value), alone.values.map(\.value), .relative(1e-4))
      let same = try model.evaluation(on: source, against: family.load())
      #expect(same[.agreement] == 1 && abs(same[.divergence]) < 1e-6)
      #expect(same[.cosine].isNaN && same.measures.count == 4)
      let data = try JSONEncoder().encode(same)
      #expect(try JSONDecoder().decode(Fidelity.self, from: data) == same)
    }
  }

  /// KL(p ‖ q) of two fixed distributions.
  @Test func divergenceIsKullbackLeiblers() throws {
    let (p, q) = ([0.5, 0.25, 0.25], [0.2, 0.5, 0.3])
    let expected = zip(p, q).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) }
    func logits(_ probabilities: [Double], _ shift: Double) -> MLXArray {
      MLXArray(probabilities.map { Float(log($0) + shift) }, [1, 3])
    }
    let found = LogitMeasures.divergence(of: logits(q, 3), from: logits(p, -1))
    try expectClose(found, MLXArray([Float(expected)]), .absolute(1e-6))
  }

  // MARK: - Wrong inputs

  private func refusal(
    _ family: SmallFamily, _ source: ExampleSource,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> String {
    let model = try family.load()
    var sentence = ""
    do {
      _ = try model.data(from: source)
      Issue.record("nothing was refused", sourceLocation: sourceLocation)
    } catch {
      sentence = "\(error)"
    }
    return sentence
  }

  @Test func wrongExamplesAreRefused() throws {
    try withTemporaryFolder { folder in
      #expect(try refusal(.vit, ExampleSource()).contains("tessera data images"))
      let missing = folder.appending(path: "none")
      #expect(try refusal(.vit, ExampleSource(missing)).contains("none"))
      #expect(try refusal(.gpt2, ExampleSource(missing)).contains("UTF-8"))
      let images = folder.appending(path: "images")
      try SmallFamily.writeImages(images, counts: [4, 4], shape: [8, 8, 3], classes: 2)
      #expect(
        try refusal(.vit, ExampleSource(images)).contains("expected images of 15x15x3"))
      #expect(try refusal(.gpt2, ExampleSource(images)).contains("tokens"))
      let tokens = folder.appending(path: "tokens")
      try SmallFamily.writeTokens(tokens, counts: [400, 400], vocabularySize: 96)
      #expect(try refusal(.gpt2, ExampleSource(tokens)).contains("at most the 95 tokens"))
      #expect(try refusal(.mlp, ExampleSource(tokens)).contains("images"))
      #expect(
        try refusal(.gpt2, ExampleSource(tokens, length: 24)).contains("windows of 1 to 23 tokens"))
      let error = try #require(throws: ConversionError.self) {
        try Evaluation(
          folder: SmallFamily.gpt2.folder, against: SmallFamily.llama.folder,
          on: ExampleSource(tokens))
      }
      #expect(error.description.contains("tokens"))
      let kinds = try #require(throws: ConversionError.self) {
        try Evaluation(
          folder: SmallFamily.gpt2.folder, against: SmallModel.folder, on: ExampleSource(tokens))
      }
      #expect(kinds.description.contains("one kind"))
    }
  }

  @Test func aClassifierWithoutClassesIsRefused() throws {
    try withTemporaryFolder { folder in
      let model = ViTModel(
        try #require(SmallFamily.vit.load().model as? ViTModel).configuration, hasClassifier: false)
      try model.initialize(key: MLXRandom.key(0))
      let target = folder.appending(path: "features")
      try model.write(to: target)
      let error = try #require(throws: MLXError.self) { try ConvertibleModels.load(target) }
      #expect("\(error)".contains("a model with a classifier"))
    }
  }
}
