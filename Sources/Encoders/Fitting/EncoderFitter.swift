import Dispatch
import Synchronization

/// The search for the best encoder of a tile and rank with bounded coefficients.
///
/// Without a bound the optima diverge: the error creeps towards an infimum that no finite table
/// attains (border rank), with coefficients that are useless in 16-bit arithmetic. So the search
/// minimises the error subject to ``Bound``. It works in rounds:
///
/// 1. *Explore*: 32 starts (random, Kronecker products of 2×2 optima, pruned and deflated exact
///    tables; from the second round on half of them the best encoders so far with a few components
///    replaced), 300 sweeps of alternating least squares with a small ridge, 100 with a larger one.
/// 2. *Refine*: the eight best new ones follow a penalty on the noise gain, raised while the bound
///    is violated and lowered while it holds, in ever smaller steps.
///
/// The outcome is a function of tile, rank, seed, bound and number of rounds; neither the number of
/// threads nor the time changes it, except that a time limit decides how many rounds are done.
public struct EncoderFitter: Sendable {
  /// What a fitted encoder must satisfy after balancing.
  public struct Bound: Sendable, Hashable {
    /// The largest magnitude of a coefficient.
    public var largestCoefficient: Double
    /// The largest noise gain.
    ///
    /// Rounding encoded operands to bfloat16 adds a squared error of about 6·10⁻⁶ times the gain
    /// (``Encoder/roundingError(size:count:seed:)``): at the default of 64 about 2% root mean
    /// square, where the best inexact table of tile 4 is 12% off.
    public var noiseGain: Double

    /// Creates a bound.
    public init(largestCoefficient: Double = 2, noiseGain: Double = 64) {
      self.largestCoefficient = largestCoefficient
      self.noiseGain = noiseGain
    }

    /// Whether an encoder satisfies it.
    public func holds(for encoder: Encoder) -> Bool {
      encoder.largestCoefficient <= largestCoefficient && encoder.noiseGain <= noiseGain
    }
  }

  /// When the search stops: after so many rounds or so much time, whichever comes first.
  public struct Limit: Sendable, Hashable {
    /// The number of rounds, at least 1.
    public var rounds: Int
    /// The time; a round in progress is finished.
    public var duration: Duration

    /// Creates a limit of rounds and time.
    public init(rounds: Int = .max, duration: Duration = .seconds(Int64.max / 2)) {
      self.rounds = rounds
      self.duration = duration
    }

    /// A number of rounds whatever the time: the result is reproducible.
    public static func rounds(_ rounds: Int) -> Limit {
      Limit(rounds: rounds)
    }

    /// A time: the result depends on the speed of the machine.
    public static func duration(_ duration: Duration) -> Limit {
      Limit(duration: duration)
    }
  }

  /// A report after a round.
  public struct Progress: Sendable, Hashable {
    /// The rounds done.
    public var rounds: Int
    /// The starts explored.
    public var starts: Int
    /// The error of the best encoder within the bound; infinite while there is none.
    public var error: Double
    /// The time since the beginning.
    public var elapsed: Duration
  }

  /// The outcome of a search.
  public struct Fit: Sendable, Hashable {
    /// The best encoder within the bound, balanced; its provenance carries seed and command.
    public var encoder: Encoder
    /// The rounds done.
    public var rounds: Int
    /// The starts explored.
    public var starts: Int
    /// The time taken.
    public var elapsed: Duration
  }

  /// The bound on the result.
  public var bound: Bound
  /// The number of threads; it changes the time, never the result of a round.
  public var threads: Int

  static let batchesPerRound = 8
  static let refinementsPerRound = 2

  /// Creates a fitter.
  public init(bound: Bound = Bound(), threads: Int = 1) {
    self.bound = bound
    self.threads = threads
  }

  /// Searches from nothing, or from encoders of neighbouring ranks as well.
  ///
  /// - Parameters:
  ///   - tile: The tile side t, 2...8.
  ///   - rank: The number of products R, 1...t³.
  ///   - seed: The seed of all starts.
  ///   - given: Encoders for the same tile, of any rank: components are removed from them or added
  ///     to them (deflation, growth) to make a part of the starts.
  ///   - limit: When to stop.
  ///   - progress: Called after every round, on the calling thread; return false to stop early.
  /// - Returns: The best encoder found.
  /// - Throws: ``EncoderError/request(_:)`` for a tile, rank, limit or thread count out of range, or
  ///   if no start came within the bound.
  /// - Complexity: a round is about 6,600 sweeps of four fits; a sweep is O(R³ + R² t²).
  public func fit(
    tile: Int, rank: Int, seed: UInt64, from given: [Encoder] = [], limit: Limit,
    progress: (Progress) -> Bool = { _ in true }
  ) throws(EncoderError) -> Fit {
    try validate(tile: tile, rank: rank, limit: limit)
    if let other = given.first(where: { $0.tile != tile }) {
      throw .request("expected starts for tile \(tile), got \(other); leave it out")
    }
    let clock = ContinuousClock()
    let begin = clock.now
    var search = FitSearch(tile: tile, rank: rank, seed: seed, bound: bound, given: given)
    var rounds = 0
    repeat {
      search.round(rounds, threads: threads)
      rounds += 1
      let report = Progress(
        rounds: rounds, starts: rounds * Self.batchesPerRound * LaneSolver.laneCount,
        error: search.best?.error ?? .infinity, elapsed: begin.duration(to: clock.now))
      guard progress(report) else { break }
    } while rounds < limit.rounds && begin.duration(to: clock.now) < limit.duration
    guard var encoder = search.best else {
      throw .request(
        "expected a fit within the bound on coefficients, got none after \(rounds) rounds; "
          + "allow more time or a larger bound")
    }
    encoder.name = "fitted-\(tile)-\(rank)"
    encoder.provenance = Encoder.Provenance(
      source: "least squares within |coefficient| <= \(bound.largestCoefficient), "
        + "noise gain <= \(bound.noiseGain)",
      seed: seed,
      command: "tessera encoders fit --tile \(tile) --rank \(rank) --seed \(seed) "
        + "--rounds \(rounds)" + given.map { " --from \($0.name)" }.joined())
    return Fit(
      encoder: encoder, rounds: rounds,
      starts: rounds * Self.batchesPerRound * LaneSolver.laneCount,
      elapsed: begin.duration(to: clock.now))
  }

  /// Improves a given encoder: follows it, and slightly perturbed copies, to the edge of the bound.
  ///
  /// - Throws: ``EncoderError/request(_:)`` if no copy comes within the bound.
  public func refine(_ encoder: Encoder, seed: UInt64) throws(EncoderError) -> Encoder {
    guard let best = FitSearch.polish(encoder, seed: seed, bound: bound) else {
      throw .request(
        "expected \(encoder) to come within the bound on coefficients, it did not; raise the bound")
    }
    return best
  }

  private func validate(tile: Int, rank: Int, limit: Limit) throws(EncoderError) {
    guard (2...8).contains(tile) else {
      throw .request("expected a tile side in 2...8, got \(tile); choose another tile")
    }
    guard (1...tile * tile * tile).contains(rank) else {
      throw .request(
        "expected a rank in 1...\(tile * tile * tile) for tile \(tile), got \(rank); "
          + "choose another rank")
    }
    guard limit.rounds >= 1, limit.duration >= .zero else {
      throw .request("expected at least one round and a time that is not negative; raise the limit")
    }
    guard threads >= 1 else {
      throw .request("expected at least one thread, got \(threads); raise the number")
    }
  }
}

/// The values of `body` for 0..<count, computed on several threads.
func concurrentMap<Value: Sendable>(
  _ count: Int, threads: Int, _ body: @Sendable (Int) -> Value
) -> [Value] {
  guard threads > 1, count > 1 else { return (0..<count).map(body) }
  let next = Atomic(0)
  let values = Mutex([Value?](repeating: nil, count: count))
  DispatchQueue.concurrentPerform(iterations: min(threads, count)) { _ in
    while true {
      let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
      guard index < count else { return }
      let value = body(index)
      values.withLock { $0[index] = value }
    }
  }
  return values.withLock { $0.compactMap(\.self) }
}
