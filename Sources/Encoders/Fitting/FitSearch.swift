/// The state of a search between rounds.
struct FitSearch {
  let tile: Int
  let rank: Int
  let seed: UInt64
  let bound: EncoderFitter.Bound
  /// Encoders of any rank from which some starts are made.
  let given: [Encoder]

  /// The best encoder within the bound so far, balanced.
  private(set) var best: Encoder?

  /// A local minimum of the penalised error.
  struct Candidate: Sendable {
    var encoder: Encoder
    var objective: Double

    /// Whether two candidates are the same minimum, up to symmetry, for all practical purposes.
    func matches(_ other: Double) -> Bool { abs(objective - other) < 1e-4 }
  }

  /// The best distinct minima so far, from which later rounds hop.
  private var incumbents: [Candidate] = []
  /// The objectives of the minima already refined.
  private var refined: [Double] = []

  static let incumbentCount = 8
  /// Enough ridge to keep least squares moving, and the ridge at which minima are compared.
  static let exploringRidge = 1e-3
  static let comparingRidge = 1e-2

  init(
    tile: Int, rank: Int, seed: UInt64, bound: EncoderFitter.Bound, given: [Encoder] = []
  ) {
    self.tile = tile
    self.rank = rank
    self.seed = seed
    self.bound = bound
    self.given = given.map(\.balanced)
  }

  /// Explores new starts and refines the best of them.
  mutating func round(_ round: Int, threads: Int) {
    let given = given + incumbents.map(\.encoder)
    let first = round * EncoderFitter.batchesPerRound
    let (tile, rank, seed, bound) = (tile, rank, seed, bound)
    let explored = concurrentMap(EncoderFitter.batchesPerRound, threads: threads) {
      Self.explore(tile: tile, rank: rank, seed: seed, batch: first + $0, given: given)
    }.flatMap { $0 }.filter { $0.objective.isFinite }.sorted { $0.objective < $1.objective }

    for candidate in explored
    where !incumbents.contains(where: { $0.matches(candidate.objective) }) {
      incumbents.append(candidate)
    }
    incumbents.sort { $0.objective < $1.objective }
    incumbents.removeLast(max(0, incumbents.count - Self.incumbentCount))

    var chosen: [Candidate] = []
    for candidate in explored
    where chosen.count < EncoderFitter.refinementsPerRound * LaneSolver.laneCount {
      guard !refined.contains(where: candidate.matches) else { continue }
      refined.append(candidate.objective)
      chosen.append(candidate)
    }
    let batches = stride(from: 0, to: chosen.count, by: LaneSolver.laneCount).map {
      chosen[$0..<min($0 + LaneSolver.laneCount, chosen.count)].map(\.encoder)
    }
    let finished = concurrentMap(batches.count, threads: threads) {
      Self.refine(batches[$0], bound: bound)
    }
    for encoder in finished.flatMap({ $0 }) where encoder.error < best?.error ?? .infinity {
      best = encoder
    }
  }

  /// Four starts of one family, followed to local minima.
  private static func explore(
    tile: Int, rank: Int, seed: UInt64, batch: Int, given: [Encoder]
  ) -> [Candidate] {
    var generator = SeededGenerator(seed: seed, stream: batch)
    let start = FitStart(tile: tile, rank: rank)
    let families = start.families
    let family =
      !given.isEmpty && batch % 2 == 1 ? .adapted : families[batch / 2 % families.count]
    return descend(start.make(family, given: given, using: &generator))
  }

  /// Follows four starts to local minima of the error with the comparing ridge.
  private static func descend(_ starts: [Encoder]) -> [Candidate] {
    let solver = LaneSolver(tile: starts[0].tile, rank: starts[0].rank)
    for (lane, start) in starts.enumerated() { solver.load(start, lane: lane) }
    solver.ridge = LaneSolver.Lane(repeating: exploringRidge)
    for _ in 0..<300 { solver.sweep() }
    solver.ridge = LaneSolver.Lane(repeating: comparingRidge)
    solver.restart()
    for _ in 0..<100 { solver.sweep() }
    return solver.unload(provenance: starts[0].provenance).enumerated().map {
      Candidate(encoder: $0.element, objective: solver.objective[$0.offset])
    }
  }

  /// The best of an encoder and three perturbed copies after descent and refinement.
  static func polish(
    _ encoder: Encoder, seed: UInt64, bound: EncoderFitter.Bound
  ) -> Encoder? {
    var generator = SeededGenerator(seed: seed)
    let copies = (1..<LaneSolver.laneCount).map { _ in
      encoder.balanced.perturbed(by: 0.05, using: &generator)
    }
    let minima = descend([encoder.balanced] + copies).filter { $0.objective.isFinite }
    return refine(minima.map(\.encoder), bound: bound).min { $0.error < $1.error }
  }

  /// Follows up to four minima to the edge of the bound; returns what satisfies it.
  ///
  /// The penalty μ Σ‖u_p‖²‖v_p‖²‖w_p‖² is that on the noise gain. The least error within the bound
  /// lies at its edge, where μ is found by steps that shrink from 2 to 1.05.
  private static func refine(
    _ starts: [Encoder], bound: EncoderFitter.Bound
  ) -> [Encoder] {
    guard let first = starts.first else { return [] }
    let solver = LaneSolver(tile: first.tile, rank: first.rank)
    for lane in 0..<LaneSolver.laneCount {
      solver.load(starts[min(lane, starts.count - 1)], lane: lane)
    }
    solver.ridge = LaneSolver.Lane(repeating: 1e-5)
    solver.noise = LaneSolver.Lane(repeating: 5e-4)
    var best = [Encoder?](repeating: nil, count: starts.count)
    for stage in 0..<18 {
      solver.restart()
      for _ in 0..<100 { solver.sweep() }
      let step = 1 + 1 / Double(1 + stage)
      for lane in 0..<starts.count {
        let encoder = solver.unload(lane: lane, provenance: starts[lane].provenance)
        guard bound.holds(for: encoder) else {
          solver.noise[lane] *= step
          continue
        }
        solver.noise[lane] /= step
        if encoder.error < best[lane]?.error ?? .infinity { best[lane] = encoder }
      }
    }
    return best.compactMap(\.self)
  }
}
