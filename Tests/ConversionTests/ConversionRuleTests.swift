import Operators
import Testing

@testable import Conversion

@Suite struct ConversionRuleTests {
  private static let ratios = [1.25, 1.5, 2, 4.5]
  private static let sizes = [(64, 96), (39, 51), (128, 128)]

  @Test(arguments: ["lowrank:rank", "tt:rank", "btt:rank", "monarch:blocks", "stl:rank"])
  func theRichestMemberInTheBudgetIsChosen(_ text: String) throws {
    let parts = text.split(separator: ":").map(String.init)
    let (name, option) = (parts[0], parts[1])
    var chosen = 0
    for (inputs, outputs) in Self.sizes {
      // Every member, also those that the search may pass over.
      let costs = (1...Swift.min(inputs, outputs)).compactMap { size -> Double? in
        let spec = try? OperatorSpec(parsing: "\(name):\(option)=\(size)")
        return try? spec?.makeOperator(inputs: inputs, outputs: outputs).cost.multiplyAdds
      }
      for ratio in Self.ratios {
        let budget = Double(inputs * outputs) / ratio
        let rule = try ConversionRule(parsing: name, ratio: ratio)
        let best = costs.filter { $0 <= budget }.max()
        guard let best else {
          #expect(throws: ConversionError.self) {
            try rule.spec(inputs: inputs, outputs: outputs)
          }
          continue
        }
        let cost = try rule.spec(inputs: inputs, outputs: outputs)
          .makeOperator(inputs: inputs, outputs: outputs).cost.multiplyAdds
        #expect(cost == best && cost <= budget)
        chosen += 1
      }
    }
    #expect(chosen > 0)
  }

  @Test func oneMoreRankWouldExceedTheBudget() throws {
    for (inputs, outputs) in Self.sizes {
      for ratio in Self.ratios {
        let spec = try ConversionRule(parsing: "lowrank", ratio: ratio)
          .spec(inputs: inputs, outputs: outputs)
        guard case .lowRank(let rank) = spec else {
          Issue.record("expected low rank, got \(spec)")
          continue
        }
        let budget = Double(inputs * outputs) / ratio
        #expect(Double(rank * (inputs + outputs)) <= budget)
        #expect(Double((rank + 1) * (inputs + outputs)) > budget)
      }
    }
  }

  @Test func optionsOfAFamilyAreKept() throws {
    let rule = try ConversionRule(parsing: "stl:rows=batch", ratio: 1.5)
    guard
      case .strassenTile(_, 4, _, .batch) = try rule.spec(inputs: 128, outputs: 128)
    else {
      Issue.record("expected tiles across samples")
      return
    }
    #expect(rule.description == "stl:rows=batch at 1/1.5")
  }

  @Test func aSpecStandsForItself() throws {
    let rule = try ConversionRule(parsing: "btt:rank=2", ratio: nil, layers: ["*.query", "*.key"])
    #expect(
      try rule.spec(inputs: 8, outputs: 8)
        .description.hasPrefix("btt:rank=2,"))
    #expect(rule.description == "btt:rank=2 for *.query, *.key")
    #expect(
      rule.applies(to: "a.query", isOfStack: true) && rule.applies(to: "a.key", isOfStack: true))
    #expect(!rule.applies(to: "a.value", isOfStack: true))
    let plain = try ConversionRule(parsing: "dense", ratio: nil)
    #expect(plain.applies(to: "anything", isOfStack: true))
    #expect(!plain.applies(to: "anything", isOfStack: false))
  }

  @Test(arguments: [
    ("dense", 2, "expected one of btt, lowrank, monarch, stl, tt"),
    ("kronecker", 2, "got 'kronecker'"), ("2:4", 2, "without a ratio"),
    ("ks:1x2x3x4", 2, "expected one of"), ("", 2, "got ''"), ("BTT", 2, "got 'BTT'"),
    ("btt:rank=3", 2, "without rank"), ("btt:norm=true,rank=3", 2, "without rank"),
    ("monarch:blocks=3", 2, "without blocks"), ("stl:rank=24,rows=batch", 2, "without rank"),
    ("lowrank", 1, "a ratio above 1, got 1.0"), ("lowrank", 0.5, "got 0.5"),
    ("lowrank", -2, "got -2"), ("lowrank", .nan, "got nan"), ("lowrank", .infinity, "got inf"),
  ])
  func wrongFamiliesGetASentence(_ text: String, _ ratio: Double, _ words: String) throws {
    let error = try #require(throws: ConversionError.self) {
      try ConversionRule(parsing: text, ratio: ratio)
    }
    #expect(error.description.contains(words), "\(error)")
    #expect(error.description.hasSuffix("."))
  }

  @Test(arguments: [("lowrank:", 2.0), ("stl:rows=sideways", 2), ("btt:norm=maybe", 2)])
  func wrongOptionsOfAFamilyGetASentence(_ text: String, _ ratio: Double) throws {
    #expect(throws: SpecError.self) { try ConversionRule(parsing: text, ratio: ratio) }
  }

  @Test func aBudgetThatNothingMeetsGetsASentence() throws {
    let error = try #require(throws: ConversionError.self) {
      try ConversionRule(parsing: "lowrank", ratio: 1e6).spec(inputs: 39, outputs: 51)
    }
    #expect(error.description.contains("39 inputs and 51 outputs"))
    #expect(error.description.contains("smaller ratio"))
  }

  // MARK: - Budgets

  private func choices(_ text: String) throws -> [String] {
    guard case .budget(let choices, _) = try ConversionRule(parsing: text, budget: 2).target else {
      return []
    }
    return choices.map(\.description)
  }

  @Test func aBudgetHasAListOfSpecsAndFamilies() throws {
    #expect(
      try choices("lowrank,stl:rank=24,rows=batch,2:4,btt:norm=true,ks:1x2x3x4+1x4x2x3")
        == [
          "lowrank", "stl:rank=24,rows=batch", "2:4", "btt:norm=true", "ks:1x2x3x4+1x4x2x3",
        ])
    #expect(
      try ConversionRule(parsing: "lowrank,2:4", budget: 2, layers: ["*.key"]).description
        == "lowrank,2:4 within 1/2.0 for *.key")
  }

  @Test(arguments: [
    ("lowrank,", "got ''"), ("lowrank,bttt", "got 'bttt'"), ("lowrank:rank=x", "'x'"),
    ("stl:rank=24,rows=up", "'up'"), ("", "got ''"),
  ])
  func wrongListsGetASentence(_ text: String, _ words: String) throws {
    let error = try #require(throws: (any Error).self) {
      try ConversionRule(parsing: text, budget: 2)
    }
    #expect("\(error)".contains(words), "\(error)")
  }

  @Test func alternativesFitTheLayerAndCostLessThanDense() throws {
    let rule = try ConversionRule(parsing: "lowrank,lowrank:rank=99,kronecker,2:4", budget: 2)
    let structures = try rule.structures(inputs: 39, outputs: 51)
    let last = try #require(structures.last)
    #expect(last is Dense)
    for structure in structures.dropLast() {
      #expect(structure.cost.multiplyAdds < 39 * 51)
    }
    let ranks = structures.compactMap { ($0 as? LowRank)?.rank }
    // A rank of 39·51 / 90 = 22.1 costs as much as dense; 99 is more than there is.
    #expect(ranks == ranks.sorted() && ranks.count == 5 && ranks.allSatisfy { $0 <= 22 })
    #expect(structures.contains { $0 is TwoFour } && structures.contains { $0 is Kronecker })
  }
}

extension ConversionRule {
  fileprivate func spec(inputs: Int, outputs: Int) throws -> OperatorSpec {
    try #require(structures(inputs: inputs, outputs: outputs).first).spec
  }
}
