import Foundation
import MLX
import MLXOptimizers
import Models
import Operators
import TestSupport
import Testing

@testable import Training

@Suite struct RecipeTests {
  private let folder = URL(filePath: "/data/recipes")

  private let minimal = """
    model: \(Small.models["gpt2"] ?? "")
    data: sets/text
    output: ../runs/a
    steps: 100
    batch: 16
    """

  private func problems(_ more: String) throws -> [String] {
    try #require(throws: RecipeError.self) { try Recipe(minimal + "\n" + more, folder: folder) }
      .problems
  }

  @Test func pathsAreRelativeToTheRecipe() throws {
    let recipe = try Recipe(minimal, folder: folder)
    #expect(recipe.data.path == "/data/recipes/sets/text")
    #expect(recipe.output.path == "/data/runs/a")
    #expect(recipe.checkpointInterval == 100)
    #expect(recipe.evaluationInterval == 100)
  }

  @Test func everyKeyIsRead() throws {
    let recipe = try Recipe(
      minimal + """

        structures:
          - {layers: "*.mlp.c_fc", to: "btt:rank=2"}
          - {layers: "*.mlp.*", to: dense}
        rules: {initialization: family, rates: uniform, base_width: 8, zero_last: false}
        guided_steps: 5
        accumulation: 2
        optimizer: {rate: 3e-3, betas: [0.9, 0.95], epsilon: 1e-7, decay: 0.1}
        schedule: {kind: wsd, warm_up: 10, decay: 20, final: 0.1}
        clip: 1
        average: 0.99
        precision: bf16
        seed: 7
        label_smoothing: 0.1
        distillation: {teacher: big, weight: 0.3, temperature: 2}
        checkpoints: {every: 10, keep: 3}
        evaluation: {every: 5, examples: 64}
        processes: {shard_optimizer: true}
        compile: false
        length: 32
        augmentation: {crop: 4, flip: true, mixup: 0.8, cutmix: 1, random: {operations: 2}}
        """, folder: folder)
    #expect(recipe.structures.map(\.spec) == [.blockTensorTrain(rank: 2), .dense])
    #expect(recipe.rules.initialization == .family && recipe.rules.rates == .uniform)
    #expect(recipe.rules.baseWidth == 8 && !recipe.rules.zeroesLastLayers)
    #expect(recipe.guidedSteps == 5 && recipe.accumulation == 2 && recipe.seed == 7)
    #expect(recipe.optimizer.rate == 3e-3 && recipe.optimizer.betas == [0.9, 0.95])
    #expect(recipe.optimizer.epsilon == 1e-7 && recipe.optimizer.decay == 0.1)
    #expect(recipe.clip == 1 && recipe.average == 0.99 && recipe.precision == .bfloat16)
    #expect(recipe.labelSmoothing == 0.1 && recipe.distillation?.temperature == 2)
    #expect(recipe.distillation?.teacher.path == "/data/recipes/big")
    #expect(recipe.checkpointInterval == 10 && recipe.checkpointsKept == 3)
    #expect(recipe.evaluationInterval == 5 && recipe.evaluationExamples == 64)
    #expect(recipe.shardsOptimizer && !recipe.compiles && recipe.length == 32)
    let augmentation = recipe.augmentation
    #expect(augmentation.cropPadding == 4 && augmentation.flips && augmentation.mixup == 0.8)
    #expect(augmentation.cutmix == 1 && augmentation.randAugment?.operations == 2)
  }

  @Test(arguments: [
    ("seed: -1", "a whole number from 0", "`seed`, got -1"),
    ("accumulation: 3", "a divisor of the batch 16", "got 3"),
    ("optimizer: {rate: 0}", "a number above 0.0", "`optimizer.rate`, got 0"),
    ("optimizer: {rate: fast}", "a number above 0.0", "got \"fast\""),
    ("optimizer: {betas: [0.9, 1]}", "two numbers", "`optimizer.betas`"),
    ("optimizer: 3", "a mapping", "`optimizer`, got 3"),
    ("schedule: {kind: linear}", "constant or cosine or wsd", "got \"linear\""),
    ("schedule: {warm_up: 200}", "from 0 to 100", "`schedule.warm_up`, got 200"),
    ("schedule: {decay: 5}", "no key", "kind: wsd"),
    ("augmentation: {mixup: -1}", "of 0.0 or more", "`augmentation.mixup`"),
    ("precision: f16", "f32 or bf16", "`precision`"),
    ("average: 1", "between 0.0 and 1.0", "`average`, got 1"),
    ("clip: 0", "above 0.0", "`clip`"),
    ("encoders: shared", "learnt or frozen", "`encoders`"),
    ("encoders: frozen", "Strassen-Tile layers", "none"),
    ("compile: 1", "true or false", "`compile`, got 1"),
    ("stepz: 5", "one of model", "`stepz`"),
    ("structures: {a: 1}", "a list", "`structures`"),
    ("structures: [3]", "a mapping", "`structures[0]`, got 3"),
    ("structures: [{layers: '*.mlp.*'}]", "`structures[0].to`", "got none"),
    ("structures: [{layers: '*.mlp.*', to: 'btt:rang=2'}]", "a structure", "btt:rang=2"),
    ("structures: [{layers: '*.mpl.*', to: twofour}]", "a structure", "twofour"),
    ("structures: [{layers: '*.mpl.*', to: '2:4'}]", "a pattern of dense layers", "*.mpl.*"),
    ("structures: [{layers: '*.mlp.*', to: 'lowrank:rank=900'}]", "16", "900"),
    ("structures: [{layers: '*.mlp.*', to: 'stl:rank=24'}]", "do not mix the tokens", "rows="),
    ("distillation: {weight: 2}", "`distillation.teacher`", "got none"),
  ])
  func eachProblemIsOneSentence(_ more: String, _ first: String, _ second: String) throws {
    let problems = try problems(more)
    #expect(problems.contains { $0.contains(first) && $0.contains(second) }, "\(problems)")
    for sentence in problems { #expect(!sentence.contains("\n") && sentence.hasPrefix("[")) }
  }

  @Test func allProblemsAreSaidAtOnce() throws {
    let text = """
      model: {type: gpt3}
      optimizer: {rate: none, speed: 3}
      batch: many
      steps: 0
      """
    let problems = try #require(throws: RecipeError.self) { try Recipe(text, folder: folder) }
      .problems
    for part in [
      "`model.type`", "`optimizer.rate`", "`optimizer.speed`", "`batch`", "`steps`", "`data`",
      "`output`",
    ] { #expect(problems.count { $0.contains(part) } == 1, "\(part): \(problems)") }
  }

  @Test(arguments: [
    ("{type: gpt2, vocab_size: 12, n_positions: 8, n_embed: 16, n_layer: 1, n_head: 2}", "n_embd"),
    (
      "{type: gpt2, vocab_size: 12, n_positions: 8, n_embd: 16, n_layer: 1, n_head: 2, n_heads: 2}",
      "n_heads"
    ),
    ("{type: gpt2, vocab_size: 12, n_positions: 8, n_embd: 16, n_layer: 1, n_head: 3}", "divisor"),
    ("{type: gpt2, vocab_size: x, n_positions: 8, n_embd: 16, n_layer: 1, n_head: 2}", "\"x\""),
    ("{type: bert}", "fine-tune"), ("{checkpoint: nowhere}", "nowhere"), ("text", "a mapping"),
  ])
  func sizesAreThoseOfTheFamily(_ model: String, _ part: String) throws {
    let text = "model: \(model)\ndata: d\noutput: o\nsteps: 1\nbatch: 1"
    let error = try #require(throws: RecipeError.self) { try Recipe(text, folder: folder) }
    #expect(error.description.contains(part), "\(error)")
  }

  @Test(arguments: ["a: [1", "- 1", "", "a: 1\na: 2"])
  func whatIsNoMappingIsRefused(_ text: String) throws {
    let error = try #require(throws: RecipeError.self) { try Recipe(text, folder: folder) }
    #expect(error.problems.count == 1 && error.description.hasPrefix("[recipe]"), "\(error)")
  }

  @Test func theRepositorysRecipesAreSound() throws {
    let folder = URL(filePath: #filePath).deletingLastPathComponent()
      .appending(path: "../../recipes").standardizedFileURL
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
      .filter { $0.hasSuffix(".yaml") }
    #expect(names.count >= 5)
    for name in names { _ = try Recipe(contentsOf: folder.appending(path: name)) }
  }

  @Test func ratesFollowTheirCurves() throws {
    func rates(_ schedule: String) throws -> [Float] {
      let recipe = try Recipe(
        minimal + "\noptimizer: {rate: 2}\nschedule: \(schedule)", folder: folder)
      return (0..<100).map { recipe.rates($0) }
    }
    let cosine = try rates("{kind: cosine, warm_up: 10, final: 0.1}")
    #expect(cosine[0] == 0.2 && cosine[9] == 2 && cosine[10] == 2)
    #expect(abs(cosine[55] - 1.1) < 1e-5)
    let wsd = try rates("{kind: wsd, warm_up: 10, decay: 20}")
    #expect(wsd[10] == 2 && wsd[80] == 2 && abs(wsd[90] - 1) < 1e-5 && wsd[99] > 0)
    #expect(try rates("{kind: constant}").allSatisfy { $0 == 2 })
  }
}
