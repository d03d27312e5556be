import Synchronization
import Testing

@testable import Encoders

@Suite struct FitterTests {
  private func start(tile: Int, rank: Int, seed: UInt64) -> Encoder {
    var generator = SeededGenerator(seed: seed)
    return FitStart(tile: tile, rank: rank).make(.random, using: &generator)[0]
  }

  private func penalised(_ encoder: Encoder, ridge: Double, noise: Double) -> Double {
    let squares = [encoder.activation, encoder.weight, encoder.decoder]
      .reduce(0) { $0 + $1.reduce(0) { $0 + $1 * $1 } }
    return Double(encoder.classicalRank) * (encoder.error + noise * encoder.noiseGain)
      + ridge * squares
  }

  @Test func objectiveIsErrorPlusPenaltiesAndNeverRises() {
    let solver = LaneSolver(tile: 2, rank: 5)
    for lane in 0..<4 {
      solver.load(start(tile: 2, rank: 5, seed: UInt64(lane)), lane: lane)
    }
    solver.ridge = [1e-2, 1e-3, 0, 1e-1]
    solver.noise = [0, 1e-3, 1e-2, 0]
    var last = solver.objective
    for _ in 0..<30 {
      solver.sweep()
      for lane in 0..<4 {
        #expect(solver.objective[lane] <= last[lane])
        let encoder = solver.unload(lane: lane, provenance: .init(source: ""))
        let expected = penalised(
          encoder, ridge: solver.ridge[lane], noise: solver.noise[lane])
        #expect(abs(solver.objective[lane] - expected) <= 1e-9 * expected)
      }
      last = solver.objective
    }
  }

  /// The decoder is updated last in a plain sweep, so no step in it lowers the objective.
  @Test func updateSolvesTheLeastSquaresProblem() {
    let solver = LaneSolver(tile: 2, rank: 3)
    for lane in 0..<4 { solver.load(start(tile: 2, rank: 3, seed: 9), lane: lane) }
    solver.noise = LaneSolver.Lane(repeating: 1e-2)
    solver.sweep()
    let encoder = solver.unload(lane: 0, provenance: .init(source: ""))
    let reached = penalised(encoder, ridge: 0, noise: 1e-2)
    for index in encoder.decoder.indices {
      var (up, down) = (encoder, encoder)
      up.decoder[index] += 1e-4
      down.decoder[index] -= 1e-4
      let slope = penalised(up, ridge: 0, noise: 1e-2) - penalised(down, ridge: 0, noise: 1e-2)
      #expect(abs(slope) <= 1e-10 * reached)
    }
  }

  @Test func lanesDoNotDependOnTheirNeighbours() {
    func fit(_ seeds: [UInt64]) -> [Encoder] {
      let solver = LaneSolver(tile: 2, rank: 6)
      for (lane, seed) in seeds.enumerated() {
        solver.load(start(tile: 2, rank: 6, seed: seed), lane: lane)
      }
      solver.ridge = LaneSolver.Lane(repeating: 1e-3)
      for _ in 0..<20 { solver.sweep() }
      return solver.unload(provenance: .init(source: ""))
    }
    #expect(fit([1, 2, 3, 4])[2] == fit([3, 5, 6, 7])[0])
  }

  @Test func fitIsTheSameForAnyNumberOfThreads() throws {
    let one = try EncoderFitter(threads: 1).fit(tile: 2, rank: 3, seed: 4, limit: .rounds(1))
    let three = try EncoderFitter(threads: 3).fit(tile: 2, rank: 3, seed: 4, limit: .rounds(1))
    #expect(one.encoder == three.encoder)
    #expect(one.starts == 32 && one.rounds == 1)
  }

  @Test func fitKeepsTheBoundAndReportsProgress() throws {
    let bound = EncoderFitter.Bound(largestCoefficient: 1.6, noiseGain: 5)
    var reports: [EncoderFitter.Progress] = []
    let fit = try EncoderFitter(bound: bound).fit(
      tile: 2, rank: 6, seed: 1, limit: .rounds(5)
    ) {
      reports.append($0)
      return false
    }
    #expect(bound.holds(for: fit.encoder))
    #expect(reports.count == 1 && fit.rounds == 1)
    #expect(reports[0].error == fit.encoder.error)
    #expect(fit.encoder.error < 0.25)
    #expect(fit.encoder.name == "fitted-2-6")
    #expect(
      fit.encoder.provenance.command
        == "tessera encoders fit --tile 2 --rank 6 --seed 1 --rounds 1")
  }

  /// Five eighths: the best known for rank 3 is to keep three products.
  @Test func refinementRepairsADamagedEncoder() throws {
    var damaged = Encoder.keepingProducts(3, tile: 2)
    damaged.decoder[0] = 0.3
    let refined = try EncoderFitter().refine(damaged, seed: 1)
    #expect(refined.error <= 0.6251)
  }

  @Test func shippedTableRoundsTheFit() throws {
    let fit = try EncoderFitter().fit(tile: 2, rank: 3, seed: 1, limit: .rounds(1))
    let table = FittedTable(fit)
    let shipped = try table.encoder()
    for (a, b) in zip(shipped.decoder, fit.encoder.decoder) { #expect(abs(a - b) <= 5.1e-5) }
    #expect(abs(shipped.error - fit.encoder.error) <= 1e-5)
    #expect(table.declaration.contains("tile: 2, rank: 3, seed: 1, rounds: 1"))
    #expect(shipped.provenance.command == fit.encoder.provenance.command)
  }

  @Test(arguments: [(4, 32), (4, 8), (3, 12), (2, 6)])
  func everyFamilyMakesStartsOfTheRightSize(tile: Int, rank: Int) {
    let start = FitStart(tile: tile, rank: rank)
    var generator = SeededGenerator(seed: 1)
    // Deflation at tile 4 is too slow for a debug build.
    for family in start.families where tile < 4 || family != .deflated {
      let starts = start.make(family, using: &generator)
      #expect(starts.count == 4)
      #expect(starts.allSatisfy { $0.rank == rank && $0.tile == tile })
    }
    let given = [
      Encoder.keepingProducts(rank - 1, tile: tile), .keepingProducts(rank + 1, tile: tile),
    ]
    let adapted = start.make(.adapted, given: given, using: &generator)
    #expect(adapted.allSatisfy { $0.rank == rank })
  }

  @Test func requestsOutOfRangeAreRefused() {
    for (tile, rank, limit) in [
      (1, 1, EncoderFitter.Limit.rounds(1)), (9, 5, .rounds(1)), (2, 0, .rounds(1)),
      (2, 9, .rounds(1)), (2, 3, .rounds(0)), (2, 3, .duration(.seconds(-1))),
    ] {
      #expect(throws: EncoderError.self) {
        try EncoderFitter().fit(tile: tile, rank: rank, seed: 1, limit: limit)
      }
    }
    #expect(throws: EncoderError.self) {
      try EncoderFitter(threads: 0).fit(tile: 2, rank: 3, seed: 1, limit: .rounds(1))
    }
  }

  @Test func concurrentMapKeepsTheOrder() {
    #expect(concurrentMap(50, threads: 4) { $0 * $0 } == (0..<50).map { $0 * $0 })
  }
}
