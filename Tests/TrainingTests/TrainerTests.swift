import Foundation
import Layers
import MLX
import MLXNN
import MLXOptimizers
import Models
import Operators
import OrderedCollections
import Reports
import TestSupport
import Testing

@testable import Training

@Suite struct TrainerTests {
  @Test(arguments: Small.models.keys.sorted())
  func everyFamilyLearns(_ name: String) throws {
    try withTemporaryFolder { folder in
      let trainer = try Small.trainer(
        name,
        """
        structures: [{layers: "*.0.*", to: "lowrank:rank=4"}]
        optimizer: {rate: 0.01, decay: 0.01}
        schedule: {warm_up: 2}
        clip: 1
        average: 0.8
        """.replacing("*.0.*", with: name == "mlp" ? "layers.1" : "*.0.*"),
        steps: 25, batch: 16, in: folder)
      var seen: [Int] = []
      let result = try trainer.run { seen.append($0.metric.step) }
      #expect(seen == Array(1...25))
      let losses = trainer.metrics.read().compactMap(\.loss)
      #expect(losses.count == 25)
      #expect(result.ending == .finished && result.step == 25)
      #expect(try #require(result.trainingLoss) < 0.8 * losses[0], "\(losses)")
      #expect(try #require(result.validationLoss) < losses[0])
      #expect(try #require(result.validationAccuracy) > 0.4)
      // What is written is the model, and reads as every checkpoint does.
      for (output, isAverage) in [("model", false), ("model-average", true)] {
        let loaded = try ModelRegistry.load(
          CheckpointFolder(url: folder.appending(path: "run/\(output)")),
          structuredLayers: .standard)
        let same = try trainer.model.parameters().allSatisfy { path, value in
          let other = try #require(loaded.module.parameters()[path])
          return try arrayEqual(value, other).item(Bool.self)
        }
        #expect(same != isAverage)
      }
    }
  }

  @Test func thePageHasTheRunsNumbers() throws {
    try withTemporaryFolder { folder in
      let trainer = try Small.trainer("mlp", steps: 3, in: folder)
      try trainer.writePage(try trainer.run())
      let page = try String(
        contentsOf: folder.appending(path: "run/report.html"), encoding: .utf8)
      #expect(page.contains("Training of mlp") && page.contains("3 of 3"))
      // Drawn, or the reason why not.
      #expect(page.contains("<svg") || page.contains("No charts"))
      let charts = TrainingResult.charts(trainer.metrics.read())
      #expect(charts.count == 4)
      #expect(charts[0].specification["data"]?["values"]?.array?.count == 4)
    }
  }

  @Test func theCompiledStepIsThePlainStep() throws {
    try withTemporaryFolder { folder in
      func losses(_ compiles: Bool) throws -> [Double] {
        let url = folder.appending(path: "\(compiles)")
        let trainer = try Trainer(
          recipe: Recipe(
            """
            model: \(Small.models["mlp"] ?? "")
            data: none
            output: run
            steps: 4
            batch: 8
            accumulation: 2
            clip: 0.5
            average: 0.9
            compile: \(compiles)
            """, folder: url), data: Small.data("mlp"))
        _ = try trainer.run()
        let values = trainer.metrics.read()
        return values.compactMap(\.loss) + values.compactMap(\.norm)
          + values.compactMap(\.averageLoss)
      }
      for (compiled, plain) in zip(try losses(true), try losses(false)) {
        #expect(abs(compiled - plain) < 1e-5)
      }
    }
  }

  @Test(arguments: ["mlp", "gpt2"])
  func accumulatedPartsAreTheWholeBatch(_ name: String) throws {
    try withTemporaryFolder { folder in
      func values(_ parts: Int) throws -> [Double] {
        let trainer = try Small.trainer(
          name, "accumulation: \(parts)\nclip: 1\noptimizer: {rate: 0.01}", steps: 4,
          in: folder.appending(path: "\(parts)"))
        _ = try trainer.run()
        let metrics = trainer.metrics.read()
        return metrics.compactMap(\.loss) + metrics.compactMap(\.norm)
      }
      let whole = try values(1)
      for parts in [2, 4] {
        for (part, whole) in zip(try values(parts), whole) {
          #expect(abs(part - whole) < 2e-5 * max(1, abs(whole)))
        }
      }
    }
  }

  /// One step of AdamW from known gradients: θ ← (1 − η λ) θ − η g/|g|, and the average of both.
  @Test func theUpdateIsThatOfTheFormulas() throws {
    try withTemporaryFolder { folder in
      let trainer = try Small.trainer(
        "mlp",
        """
        optimizer: {rate: 0.01, decay: 0.5, epsilon: 1e-30}
        schedule: {kind: constant}
        average: 0.75
        rules: {zero_last: false}
        """, steps: 1, in: folder)
      let before = try trainer.parameters()
      let batch = try trainer.data.train.batch(step: 0, size: 8, part: 0, of: 1)
      let gradient = valueAndGrad(model: trainer.model as Module) { (_: Module, _: [MLXArray]) in
        [trainer.objective.loss(batch.inputs, batch.targets)]
      }
      let (loss, gradients) = gradient(trainer.model, [])
      try eval(loss + Array(gradients.values))
      _ = try trainer.run()
      let metric = try #require(trainer.metrics.read().first)
      #expect(abs(try loss[0].item(Double.self) - (metric.loss ?? .nan)) < 1e-6)
      let norm = try stacked(gradients.values.map { square($0).sum() }).sum().item(Double.self)
      #expect(abs(norm.squareRoot() - (metric.norm ?? .nan)) < 1e-5)
      let after = trainer.model.parameters()
      for (path, start) in before {
        let direction = sign(try #require(gradients[path]))
        let decay: Float = path.hasSuffix("weight") ? 1 - 0.01 * 0.5 : 1
        let expected = start * decay - 0.01 * direction
        let moved = try #require(after[path])
        try expectClose(moved, expected, .roundings(16, of: .float32))
        let average = try #require(trainer.average?.values[path])
        try expectClose(
          average, 0.75 * start + 0.25 * moved, .roundings(8, of: .float32))
      }
    }
  }

  @Test(arguments: ["gpt2", "vit"])
  func lowPrecisionLearnsWithMasterWeights(_ name: String) throws {
    try withTemporaryFolder { folder in
      let trainer = try Small.trainer(
        name, "precision: bf16\noptimizer: {rate: 0.01}\naverage: 0.9", steps: 20, in: folder)
      let result = try trainer.run()
      let losses = trainer.metrics.read().compactMap(\.loss)
      #expect(try #require(result.trainingLoss) < 0.85 * losses[0], "\(losses)")
      let state = try trainer.updater.wholeState()
      for (path, value) in trainer.model.trainableParameters() {
        #expect(value.dtype == .bfloat16)
        let master = try #require(state["\(path).master"])
        #expect(master.dtype == .float32)
        #expect(try arrayEqual(master.asType(.bfloat16), value).item(Bool.self))
      }
      #expect(trainer.average?.values.values.allSatisfy { $0.dtype == .float32 } == true)
    }
  }

  @Test func aStudentTakesAfterItsTeacher() throws {
    try withTemporaryFolder { folder in
      let teacher = try Small.trainer(
        "gpt2", "optimizer: {rate: 0.02}", steps: 40, in: folder.appending(path: "teacher"))
      _ = try teacher.run()
      // Targets that say nothing: all that is learnt comes from the teacher.
      let data = try Small.data("gpt2")
      let all = try data.train.examples(0..<48)
      let blank = TrainingData(
        train: try ArraySource(inputs: all.inputs, targets: .zeros(like: all.targets)),
        validation: data.validation)
      let student = try Trainer(
        recipe: Small.recipe(
          "gpt2",
          """
          optimizer: {rate: 0.02}
          distillation: {teacher: ../teacher/run/model, weight: 1, temperature: 2}
          """, steps: 40, in: folder.appending(path: "student")), data: blank)
      let result = try student.run()
      #expect(try #require(result.validationAccuracy) > 0.9)
      let first = try #require(student.metrics.read().compactMap(\.loss).first)
      #expect(try #require(result.trainingLoss) < 0.2 * first)
      // Another vocabulary cannot be imitated.
      let other = "{type: gpt2, vocab_size: 13, n_positions: 8, n_embd: 16, n_layer: 1, n_head: 2}"
      let error = try #require(throws: TrainingError.self) {
        _ = try Trainer(
          recipe: Small.recipe(
            other, "distillation: {teacher: ../teacher/run/model}",
            in: folder.appending(path: "student")), data: data)
      }
      #expect(error.description.contains("a teacher with the model's inputs"))
    }
  }

  @Test func theGuidedStartFadesAndEnds() throws {
    #expect(GuidedStart.share(step: 0, of: 10) == 1)
    #expect(abs(GuidedStart.share(step: 5, of: 10) - 0.5) < 1e-6)
    #expect(GuidedStart.share(step: 10, of: 10) == 0)
    try withTemporaryFolder { folder in
      let trainer = try Small.trainer(
        "gpt2",
        """
        structures: [{layers: "*.mlp.*", to: "btt:rank=1"}]
        guided_steps: 12
        average: 0.9
        optimizer: {rate: 0.02}
        """, steps: 24, in: folder)
      #expect(trainer.model.modules().count { $0 is GuidedLinear } == 2)
      let result = try trainer.run()
      #expect(trainer.model.modules().count { $0 is GuidedLinear } == 0)
      let losses = trainer.metrics.read().compactMap(\.loss)
      #expect(try #require(result.trainingLoss) < 0.6 * losses[0], "\(losses)")
      // Nothing jumps where the guides go.
      #expect(losses[12] < losses[10] + 0.3, "\(losses)")
      #expect(trainer.average?.values.keys.allSatisfy { !$0.contains("guide") } == true)
    }
  }

  @Test func aModelIsFineTunedFromItsFolder() throws {
    try withTemporaryFolder { folder in
      let first = try Small.trainer("gpt2", "optimizer: {rate: 0.02}", steps: 30, in: folder)
      let trained = try first.run()
      let second = try Trainer(
        recipe: Small.recipe(
          "{checkpoint: ../run/model}",
          """
          structures: [{layers: "*.c_fc", to: "lowrank:rank=14"}]
          optimizer: {rate: 0.001}
          """, steps: 3, in: folder.appending(path: "tuned")), data: Small.data("gpt2"))
      let result = try second.run()
      #expect(second.model.modules().contains { $0 is StructuredLinear })
      // Fitted, not random: near to where the first run ended.
      #expect(
        try #require(result.trainingLoss) < (try #require(trained.trainingLoss)) + 0.3)
    }
  }

  @Test func aLossThatIsNotFiniteStopsTheRun() throws {
    try withTemporaryFolder { folder in
      let good = try Small.data("mlp")
      struct Poisoned: BatchSource {
        let source: any BatchSource
        var count: Int { source.count }
        func batch(step: Int, size: Int, part: Int, of parts: Int) throws -> Batch {
          let batch = try source.batch(step: step, size: size, part: part, of: parts)
          guard step == 6 else { return batch }
          return Batch(inputs: batch.inputs * Float.nan, targets: batch.targets)
        }
        func examples(_ range: Range<Int>) throws -> Batch { try source.examples(range) }
      }
      let recipe = try Small.recipe(
        "mlp", "checkpoints: {every: 4}", steps: 20, in: folder)
      let trainer = try Trainer(
        recipe: recipe, data: TrainingData(train: Poisoned(source: good.train)))
      let error = try #require(throws: TrainingError.self) { _ = try trainer.run() }
      #expect(error.description.contains("at step 7") && error.description.contains("step 4"))
      #expect(trainer.checkpoints.steps == [4])
      for array in try trainer.checkpoints.load(step: 4, into: trainer.model).values {
        #expect(try isFinite(array).all().item(Bool.self))
      }
    }
  }

  @Test func dataThatDoNotFitAreRefused() throws {
    let cases: [(String, String, String)] = [
      ("gpt2", "vit", "tokens [examples, at most 8]"),
      ("vit", "gpt2", "images [examples, 8, 8, 1]"),
      ("t2t_vit", "vit", "images [examples, 16, 16, 1]"),
      (
        "{type: gpt2, vocab_size: 7, n_positions: 8, n_embd: 16, n_layer: 1, n_head: 2}", "gpt2",
        "tokens below the vocabulary 7"
      ),
      (
        "{type: mlp, image_size: 8, num_channels: 1, hidden_size: 4, num_hidden_layers: 1, "
          + "num_labels: 2, hidden_act: relu}", "mlp", "below 2"
      ),
    ]
    for (model, data, part) in cases {
      let error = try #require(throws: TrainingError.self) {
        _ = try Trainer(
          recipe: Small.recipe(model, in: URL(filePath: "/tmp/none")), data: Small.data(data))
      }
      #expect(error.description.contains(part), "\(error)")
    }
    let error = try #require(throws: (any Error).self) {
      _ = try Trainer(recipe: Small.recipe("mlp", in: URL(filePath: "/tmp/none")))
    }
    #expect("\(error)".contains("/tmp/none"))
  }

  @Test func preparedSetsAreOpened() throws {
    try withTemporaryFolder { folder in
      _ = try Sets.tokens(folder.appending(path: "text"))
      _ = try Sets.images(folder.appending(path: "images"))
      func model(_ vocabulary: Int) -> String {
        "{type: gpt2, vocab_size: \(vocabulary), n_positions: 8, n_embd: 16, n_layer: 1, n_head: 2}"
      }
      func recipe(_ vocabulary: Int, _ keys: String) throws -> Recipe {
        var recipe = try Small.recipe(model(vocabulary), keys, steps: 3, in: folder)
        recipe.data = folder.appending(path: "text")
        return recipe
      }
      let result = try Trainer(recipe: recipe(97, "length: 5")).run()
      #expect(result.validationLoss != nil && result.cost.unitsPerExample == 5)
      let error = try #require(throws: TrainingError.self) {
        _ = try Trainer(recipe: recipe(96, ""))
      }
      #expect(error.description.contains("96 tokens") && error.description.contains("97"))
      let images = try TrainingData.open(
        folder.appending(path: "images"), length: 1, seed: 0)
      #expect(images.train.count == 11 && images.validation?.count == 4)
      #expect(images.targetCount == 3)
    }
  }

  /// By hand: MLP 64·16 + 16·16 + 16·3; GPT-2 of one layer: 12 D² a token, V·D for the words, and
  /// 2 T² D for attention.
  @Test func costsAreCounted() throws {
    func cost(_ name: String, _ keys: String = "") throws -> Int {
      let recipe = try Small.recipe(name, keys, in: URL(filePath: "/tmp"))
      return Int(
        TrainingCost(try recipe.makeModel(computing: false).module, length: 8).multiplyAdds)
    }
    #expect(try cost("mlp") == 1024 + 256 + 48)
    let attention = 2 * 8 * 8 * 16
    let words = 8 * 12 * 16
    let stack = 8 * 12 * 256
    #expect(try cost("gpt2") == stack + words + attention)
    // c_fc has 4 D² of the 12; its pair has 2 (16 + 64).
    let structured = try cost("gpt2", "structures: [{layers: '*.c_fc', to: 'lowrank:rank=2'}]")
    let saved = 8 * (1024 - 160)
    #expect(structured == stack + words + attention - saved)
    // 4 patches and the class token; Q, K, V, output and 2 x 32 wide, then the classes.
    let patches = 4 * 16 * 16
    let layer = 5 * 2048 + 2 * 25 * 16
    #expect(try cost("vit") == patches + layer + 48)
  }

  /// An exact Strassen-Tile layer may read tiles of one sequence, until it learns.
  @Test(arguments: ["gpt2", "llama"])
  func layersThatCouldLearnToLookAheadAreRefused(_ model: String) throws {
    try withTemporaryFolder { folder in
      let layers = "structures: [{layers: '*.mlp.*', to: 'stl:rank=49"
      let error = try #require(throws: TrainingError.self) {
        try Small.trainer(model, layers + "'}]", in: folder)
      }
      #expect(error.description.contains("rows=batch"))
      _ = try Small.trainer(model, layers + ",rows=batch'}]", in: folder)
    }
  }

  @Test func theTokenizerOfTheDataGoesWithTheModel() throws {
    try withTemporaryFolder { folder in
      let tokenizer = folder.appending(path: "of-the-set.json")
      try Data("{}".utf8).write(to: tokenizer)
      var data = try Small.data("gpt2")
      data.tokenizer = tokenizer
      let trainer = try Trainer(
        recipe: Small.recipe("gpt2", "average: 0.9", steps: 2, in: folder), data: data)
      _ = try trainer.run()
      for name in ["model", "model-average"] {
        let copy = folder.appending(path: "run/\(name)/tokenizer.json")
        #expect(try Data(contentsOf: copy) == Data("{}".utf8))
      }
    }
  }
}
