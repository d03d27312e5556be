import Encoders
import MLX
import Operators
import OrderedCollections
import TestSupport
import Testing

@Suite struct StrassenTilePolicyTests {
  private func leak(_ encoder: Encoder, _ rows: RowPolicy) throws -> LeakTest.Leak {
    let layer = StrassenTile(inputs: 10, outputs: 12, encoder: encoder, rows: rows)
    let parameters = try layer.fit(FitTarget(weight: gaussian([12, 10], 1)))
    return try LeakTest.leak(of: { layer.apply($0, parameters) }, tokens: 9, width: 10)
  }

  @Test func exactAlgorithmsDoNotLeak() throws {
    for encoder in Algorithms.exact {
      for rows in RowPolicy.allCases {
        let leak = try leak(encoder, rows)
        #expect(leak.share < 1e-5 && leak.allowed > 1)
      }
    }
  }

  @Test func inexactAlgorithmsLeakUnlessTilesAreAcrossSamples() throws {
    let encoder = try Algorithms.half()
    #expect(try leak(encoder, .sequence).share > 0.01)
    #expect(try leak(encoder, .flat).share > 0.01)
    #expect(try leak(encoder, .batch).forbidden == 0)
  }

  @Test func causalModelsRefuseTilesOfTokens() throws {
    for rows in RowPolicy.allCases {
      let half = StrassenTile(
        inputs: 8, outputs: 8, encoder: try Algorithms.half(), rows: rows)
      try half.validate(for: .bidirectional)
      try half.validate(for: .causal, insisting: true)
      if rows == .batch {
        try half.validate(for: .causal)
      } else {
        #expect(throws: StrassenTileError.causal(rows: rows, encoder: "thinned")) {
          try half.validate(for: .causal)
        }
      }
      for encoder in Algorithms.exact {
        try StrassenTile(inputs: 8, outputs: 8, encoder: encoder, rows: rows)
          .validate(for: .causal)
      }
    }
  }

  @Test func freelyTrainedWeightsMixRowsEvenUnderAnExactAlgorithm() throws {
    let layer = StrassenTile(
      inputs: 8, outputs: 8, encoder: ExactTable.strassenSquared.encoder)
    var parameters = try layer.fit(FitTarget(weight: gaussian([8, 8], 1)))
    #expect(try layer.rowMixing(parameters) < 1e-6)
    parameters["weight"] = gaussian([49, 2, 2], 2)
    #expect(try layer.rowMixing(parameters) > 0.1)
    #expect(layer.dense(parameters) == nil)
  }

  @Test func samplesAreIndependentUnderSequenceOnly() throws {
    let (a, b) = (gaussian([1, 6, 10], 1), gaussian([2, 6, 10], 2))
    let encoder = try Algorithms.half()
    for rows in [RowPolicy.sequence, .batch, .flat] {
      let layer = StrassenTile(inputs: 10, outputs: 12, encoder: encoder, rows: rows)
      let parameters = try layer.fit(FitTarget(weight: gaussian([12, 10], 3)))
      let alone = layer.apply(a, parameters)
      let together = layer.apply(concatenated([a, b], axis: 0), parameters)[..<1]
      let change = try relativeError(together, alone)
      if rows == .sequence { #expect(change < 1e-6) } else { #expect(change > 0.01) }
    }
  }
}
