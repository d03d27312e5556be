import Layers
import MLX
import MLXNN
import Models
import Operators
import TestSupport
import Testing

@testable import Conversion

@Suite struct AllocationTests {
  private func random(_ key: UInt64, items: Int, options: Int) throws -> [[AllocationOption]] {
    let values = try MLXRandom.uniform(
      low: 0, high: 1, [items, options, 2], key: MLXRandom.key(key)
    )
    .asArray(Double.self)
    return (0..<items).map { item in
      (0..<options).map { option in
        let place = (item * options + option) * 2
        return AllocationOption(cost: values[place], damage: values[place + 1])
      }
    }
  }

  private func totals(_ items: [[AllocationOption]], _ chosen: [Int]) -> AllocationOption {
    zip(items, chosen).reduce(AllocationOption(cost: 0, damage: 0)) { sum, next in
      let option = next.0[next.1]
      return AllocationOption(cost: sum.cost + option.cost, damage: sum.damage + option.damage)
    }
  }

  /// All choices that there are, one digit an item.
  private func best(_ items: [[AllocationOption]], budget: Double) -> Double {
    let options = items[0].count
    var count = 1
    for _ in items { count *= options }
    return (0..<count).reduce(.infinity) { best, number in
      var rest = number
      let chosen = items.map { _ in
        defer { rest /= options }
        return rest % options
      }
      let total = totals(items, chosen)
      return total.cost <= budget ? min(best, total.damage) : best
    }
  }

  @Test(arguments: 0..<40)
  func allocationsAreWithinOneStepOfTheOptimum(_ key: UInt64) throws {
    let items = try random(key, items: 5, options: 4)
    let budget = 0.5 + Double(key) * 0.05
    let optimum = best(items, budget: budget)
    guard let chosen = allocate(items, budget: budget) else {
      #expect(optimum == .infinity)
      return
    }
    let total = totals(items, chosen)
    #expect(total.cost <= budget && total.damage >= optimum - 1e-12)
    let largest = items.map { options in
      let damages = options.map(\.damage)
      return (damages.max() ?? 0) - (damages.min() ?? 0)
    }.max()
    #expect(total.damage <= optimum + (largest ?? 0))
  }

  @Test func whatCostsMoreAndHarmsMoreIsNeverChosen() throws {
    let items = [
      [
        AllocationOption(cost: 1, damage: 3), AllocationOption(cost: 2, damage: 4),
        AllocationOption(cost: 3, damage: 1), AllocationOption(cost: 3, damage: .nan),
      ]
    ]
    #expect(allocate(items, budget: 0.5) == nil)
    #expect(allocate(items, budget: 1) == [0])
    #expect(allocate(items, budget: 2.5) == [0])
    #expect(allocate(items, budget: 3) == [2])
    #expect(allocate([[AllocationOption(cost: 1, damage: .nan)]], budget: 9) == nil)
    #expect(allocate([], budget: 0) == [])
  }
}

@Suite struct PlannerTests {
  private func decided(
    _ text: String, budget: Double, layers: [String] = ["encoder.*"]
  ) throws -> (plan: ConversionPlan, calls: Int, model: any ConvertibleModel) {
    let encoders = try (0..<2).map { _ in
      try ConvertibleModels.load(SmallModel.folder)
    }
    var plan = try ConversionPlan(
      for: encoders[1].model,
      rules: [ConversionRule(parsing: text, budget: budget, layers: layers)])
    let batches = TokenBatches(SmallModel.sequences(60))
    #expect(plan.isOpen)
    var calls = 0
    try Planner(
      original: encoders[0], converted: encoders[1], batches: batches.examples,
      probes: Array(batches.examples.prefix(4))
    ).decide(&plan) { calls += 1 }
    #expect(calls == batches.batches.count + plan.layers.count)
    return (plan, calls, encoders[1])
  }

  private func cost(_ plan: ConversionPlan) -> Double {
    plan.layers.reduce(0) { $0 + $1.structure.cost.multiplyAdds }
  }

  private func dense(_ plan: ConversionPlan) -> Double {
    plan.layers.reduce(0) { $0 + Double($1.structure.inputs * $1.structure.outputs) }
  }

  @Test(arguments: [("lowrank", 1.5), ("lowrank,2:4", 2.5), ("stl:rank=8", 1.3)])
  func theBudgetIsMetAndTheModelIsLeftAlone(_ text: String, _ budget: Double) throws {
    let (plan, _, model) = try decided(text, budget: budget)
    #expect(!plan.isOpen && plan.layers.count == 12)
    #expect(cost(plan) <= dense(plan) / budget)
    // At least what the next step up would take is spent.
    #expect(cost(plan) >= dense(plan) / budget - 39 * 51)
    #expect(
      try unaryLayers(of: model.model, at: plan.layers.map(\.path)).allSatisfy {
        $0.layer is Linear
      })
  }

  /// The pooler says nothing about the embedding, so it is where to save.
  @Test func aLayerThatDoesNotMatterGetsTheLeast() throws {
    let (plan, _, _) = try decided("lowrank", budget: 1.2, layers: ["*"])
    let pooler = try #require(plan.layers.first { $0.path == "pooler.dense" })
    let others = plan.layers.filter { $0.path != pooler.path && $0.structure.inputs == 39 }
    let rank = try #require((pooler.structure as? LowRank)?.rank)
    #expect(others.allSatisfy { $0.structure.cost.multiplyAdds >= Double(rank * 78) })
    #expect(others.contains { $0.structure.cost.multiplyAdds > Double(rank * 78) })
  }

  @Test func aBudgetThatNothingMeetsGetsASentence() throws {
    let error = try #require(throws: ConversionError.self) { try decided("2:4", budget: 3) }
    #expect(error.description.contains("'2:4 within 1/3.0 for encoder.*'"))
  }

  /// Layers that the budget leaves dense are fitted to make up for those before them.
  @Test func denseLayersAreFittedToo() throws {
    let pair = try Pair("lowrank:rank=4", layers: ["encoder.layer.0.*"])
    try pair.fit()
    // On the texts of the fit, where it is a theorem but for what follows the layer.
    func cosine() throws -> Double {
      try Fidelity(
        of: pair.converted.embeddings(pair.training), to: pair.original.embeddings(pair.training)
      )[.cosine]
    }
    let before = try cosine()
    let path = "encoder.layer.1.attention.output.dense"
    let linear = try #require(
      try unaryLayers(of: pair.converted.model, at: [path]).first?.layer as? Linear)
    let fitter = try LayerFitter(
      original: pair.original.model, converted: pair.converted.model,
      batches: pair.training.examples)
    try fitter.fit([
      ConversionPlan.Layer(path: path, structure: Dense(inputs: 39, outputs: 39))
    ]) {}
    let fitted = try #require(
      try unaryLayers(of: pair.converted.model, at: [path]).first?.layer as? Linear)
    #expect(try relativeError(fitted.weight, linear.weight) > 1e-3)
    #expect(try cosine() > before)
  }
}
