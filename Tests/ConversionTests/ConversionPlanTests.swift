import Layers
import MLX
import MLXNN
import Models
import Operators
import OrderedCollections
import Testing

@testable import Conversion

@Suite struct ConversionPlanTests {
  private let model = BERTModel(
    BERTConfiguration(
      vocabularySize: 11, hiddenSize: 8, layerCount: 2, headCount: 2, intermediateSize: 12,
      maximumLength: 6))

  private func rule(_ text: String, _ layers: String...) throws -> ConversionRule {
    try ConversionRule(parsing: text, ratio: nil, layers: layers)
  }

  private func refusal(_ rules: [ConversionRule]) throws -> String {
    try #require(throws: ConversionError.self) { try ConversionPlan(for: model, rules: rules) }
      .description
  }

  @Test func theFirstRuleThatAppliesCounts() throws {
    let plan = try ConversionPlan(
      for: model,
      rules: [rule("dense", "*.key"), rule("2:4", "*.self.*"), rule("lowrank:rank=2", "encoder.*")])
    let specs = Dictionary(
      uniqueKeysWithValues: plan.layers.map { ($0.path, $0.structure.spec) })
    #expect(specs["encoder.layer.0.attention.self.query"] == .twoFour)
    #expect(specs["encoder.layer.1.attention.self.value"] == .twoFour)
    #expect(specs["encoder.layer.1.output.dense"] == .lowRank(rank: 2))
    #expect(plan.layers.count == 10)
    #expect(
      plan.kept == [
        "encoder.layer.0.attention.self.key", "encoder.layer.1.attention.self.key",
        "pooler.dense",
      ])
    let wide = plan.layers.first { $0.path == "encoder.layer.0.intermediate.dense" }
    #expect(wide?.structure.inputs == 8 && wide?.structure.outputs == 12)
  }

  @Test func layersThatFeedEachOtherAreNotInOneGroup() throws {
    let plan = try ConversionPlan(for: model, rules: [rule("2:4", "*")])
    #expect(plan.groups.map(\.count) == [3, 1, 1, 1, 3, 1, 1, 1, 1])
    #expect(
      plan.groups[0].map { $0.path.split(separator: ".").last } == ["query", "key", "value"])
    #expect(plan.groups.last?.first?.path == "pooler.dense")
    #expect(plan.groups.flatMap { $0.map(\.path) } == plan.layers.map(\.path))
  }

  @Test func withoutPatternsARuleIsForTheStack() throws {
    let plan = try ConversionPlan(for: model, rules: [rule("2:4")])
    #expect(plan.layers.count == 12 && plan.kept == ["pooler.dense"])
  }

  @Test func aRuleForNothingIsRefused() throws {
    #expect(try refusal([rule("2:4", "decoder.*")]).contains("'2:4 for decoder.*'"))
    // An earlier rule took all of its layers.
    let hidden = try refusal([rule("2:4", "*"), rule("lowrank:rank=2", "pooler.*")])
    #expect(hidden.contains("'lowrank:rank=2 for pooler.*'"))
  }

  @Test func aStructureThatDoesNotFitNamesTheLayer() throws {
    let sentence = try refusal([rule("lowrank:rank=9", "*.intermediate.dense")])
    #expect(sentence.contains("encoder.layer.0.intermediate.dense: "))
    #expect(sentence.contains("got 9"))
  }

  @Test func structuredLayersAreNotConvertedAgain() throws {
    let path = "pooler.dense"
    let layer = try StructuredLinear(.twoFour, inputs: 8, outputs: 8, key: MLXRandom.key(0))
    try model.update(modules: [(key: path, value: layer as Module)])
    let plan = try ConversionPlan(for: model, rules: [rule("2:4", "*")])
    #expect(!plan.layers.contains { $0.path == path } && !plan.kept.contains(path))
    #expect(try refusal([rule("2:4", path)]).contains("found none"))
  }
}
