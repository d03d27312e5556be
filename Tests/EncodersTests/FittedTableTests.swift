import Encoders
import Testing

@Suite struct FittedTableTests {
  private let bound = EncoderFitter.Bound()

  private func errors(tile: Int) throws -> [Int: Double] {
    var errors: [Int: Double] = [:]
    for table in FittedTable.library where table.tile == tile {
      errors[table.rank] = try table.encoder().error
    }
    return errors
  }

  @Test func everyRankOfTheRangesIsThere() {
    let ranks = Dictionary(grouping: FittedTable.library, by: \.tile).mapValues { $0.map(\.rank) }
    #expect(ranks == [2: Array(3...6), 3: Array(9...22), 4: Array(8...47)])
  }

  @Test func fittedTablesKeepTheBound() throws {
    for table in FittedTable.library {
      let encoder = try table.encoder()
      #expect(encoder.largestCoefficient <= bound.largestCoefficient, "\(table)")
      // Rounding to 10⁻⁴ may move the gain in its last digits.
      #expect(encoder.noiseGain <= bound.noiseGain * 1.001, "\(table)")
      #expect(encoder.activation.count == table.rank * table.tile * table.tile)
      #expect(encoder.name == table.name)
    }
  }

  @Test func fittedTablesAreBalanced() throws {
    for table in FittedTable.library {
      let encoder = try table.encoder()
      let balanced = encoder.balanced
      let worst = zip(encoder.activation, balanced.activation).map { abs($0 - $1) }.max() ?? .nan
      #expect(worst <= 1e-3, "\(table)")
    }
  }

  /// Least squares with a ridge, as measured in NumPy before this library existed.
  @Test(arguments: [
    (16, 0.689), (24, 0.502), (25, 0.467), (30, 0.363), (32, 0.334), (40, 0.186), (42, 0.131),
    (47, 0.035),
  ])
  func errorIsAtMostTheReference(rank: Int, reference: Double) throws {
    let error = try Encoder.best(tile: 4, rank: rank).error
    #expect(error <= reference)
  }

  @Test func errorFallsWithTheRank() throws {
    for tile in 2...4 {
      let errors = try errors(tile: tile).sorted { $0.key < $1.key }
      for (smaller, larger) in zip(errors, errors.dropFirst()) {
        #expect(larger.value < smaller.value, "tile \(tile), rank \(larger.key)")
      }
    }
  }

  @Test func namesAndRanksFindTheTables() throws {
    #expect(try Encoder.named("fitted-4-24") == Encoder.best(tile: 4, rank: 24))
    #expect(try Encoder.best(tile: 4, rank: 48).name == "rank48-accurate")
    #expect(try Encoder.best(tile: 4, rank: 49).name == "strassen-squared")
    #expect(try Encoder.best(tile: 3, rank: 23).name == "laderman")
    #expect(try Encoder.best(tile: 2, rank: 7).name == "strassen")
    #expect(Encoder.library.map(\.name) == Encoder.names)
    let provenance = try Encoder.named("fitted-4-24").provenance
    #expect(provenance.seed != nil)
    #expect(provenance.command?.hasPrefix("tessera encoders fit --tile 4 --rank 24") == true)
  }
}
