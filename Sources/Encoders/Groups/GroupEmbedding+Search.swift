extension GroupEmbedding {
  /// The best placement found by hill climbing from random starts.
  ///
  /// The first half of the steps moves an element of the three lists of Cohn and Umans, the second
  /// half the element of a single entry of either tile, which leaves their form. A step is kept if
  /// the error does not rise. The result depends on the seed and the numbers only.
  ///
  /// - Parameters:
  ///   - group: The group.
  ///   - tile: The tile side t.
  ///   - seed: The seed of starts and steps.
  ///   - starts: The number of starts, at least 1.
  ///   - steps: The number of steps a start.
  /// - Throws: ``EncoderError/request(_:)`` for a tile outside 1...8 or no start.
  /// - Complexity: O(starts · steps · (t⁴ + |G| t²)).
  public static func search(
    group: AbelianGroup, tile: Int, seed: UInt64, starts: Int = 16, steps: Int = 2000
  ) throws(EncoderError) -> GroupEmbedding {
    guard (1...8).contains(tile), starts >= 1, steps >= 0 else {
      throw .request(
        "expected a tile side in 1...8 and at least one start, got tile \(tile), "
          + "\(starts) starts of \(steps) steps; change the request")
    }
    let sums = group.sumTable()
    var generator = SeededGenerator(seed: seed, stream: 0)
    var best = try climb(group, tile, sums: sums, steps: steps, using: &generator)
    for start in 1..<max(1, starts) {
      var generator = SeededGenerator(seed: seed, stream: start)
      let found = try climb(group, tile, sums: sums, steps: steps, using: &generator)
      if found.error < best.error { best = found }
    }
    return best.embedding
  }

  private static func climb(
    _ group: AbelianGroup, _ tile: Int, sums: [Int], steps: Int,
    using generator: inout SeededGenerator
  ) throws(EncoderError) -> (embedding: GroupEmbedding, error: Double) {
    var lists = (0..<3 * tile).map { _ in generator.index(below: group.order) }
    func placement(_ lists: [Int]) throws(EncoderError) -> GroupEmbedding {
      try GroupEmbedding(
        group: group, rows: Array(lists[..<tile]), inner: Array(lists[tile..<2 * tile]),
        columns: Array(lists[(2 * tile)...]))
    }
    var current = try placement(lists)
    var error = current.error(sums: sums)
    for _ in 0..<steps / 2 {
      var moved = lists
      moved[generator.index(below: lists.count)] = generator.index(below: group.order)
      let candidate = try placement(moved)
      let candidateError = candidate.error(sums: sums)
      if candidateError <= error {
        (lists, current, error) = (moved, candidate, candidateError)
      }
    }
    let area = tile * tile
    // An exact placement stays in the form in which its property can be told.
    for _ in 0..<(error > 1e-12 ? steps - steps / 2 : 0) {
      var (alpha, beta) = (current.activation, current.weight)
      let entry = generator.index(below: 2 * area)
      let element = generator.index(below: group.order)
      if entry < area { alpha[entry] = element } else { beta[entry - area] = element }
      let candidate = try GroupEmbedding(
        group: group, tile: tile, activation: alpha, weight: beta)
      let candidateError = candidate.error(sums: sums)
      if candidateError <= error { (current, error) = (candidate, candidateError) }
    }
    return (current, error)
  }

  /// A row of the comparison of groups.
  public struct Row: Sendable, Hashable, Codable {
    /// The group, as "Z2^4".
    public var family: String
    /// The number of elements, the rank over the complex numbers.
    public var order: Int
    /// The number of characters of order at most two, which cost one real product each.
    public var realCharacters: Int
    /// Whether the placement found has the triple product property.
    public var hasTripleProductProperty: Bool
    /// The number of real products.
    public var rank: Int
    /// The error of the best placement found.
    public var error: Double
    /// The error of that placement when the real products are read out freely.
    public var freeReadOutError: Double
    /// The error of keeping as many of the t³ products.
    public var keepError: Double
    /// The error after least squares within the fitter's bound, from this start only; nil if it was
    /// not asked for.
    public var refinedError: Double?

    /// Whether the placement, read out freely, beats keeping as many of the t³ products.
    public var isBetterThanKeeping: Bool { freeReadOutError < keepError - 1e-9 }
  }

  /// The groups compared by default for tile 4: Walsh–Hadamard groups and some of order 24 to 27.
  public static let comparedFactors: [[Int]] = [
    [2, 2, 2, 2], [16], [4, 4], [2, 2, 2, 2, 2], [24], [2, 2, 6], [5, 5], [3, 3, 3],
    [2, 2, 2, 2, 2, 2], [4, 4, 4],
  ]

  /// Searches every group and reports error against rank, with and without refinement.
  ///
  /// - Throws: ``EncoderError`` for a group or tile out of range.
  public static func comparison(
    groups: [AbelianGroup], tile: Int, seed: UInt64, starts: Int = 16, steps: Int = 2000,
    refinedBy fitter: EncoderFitter? = nil
  ) throws(EncoderError) -> [Row] {
    var rows: [Row] = []
    for group in groups {
      let embedding = try search(
        group: group, tile: tile, seed: seed, starts: starts, steps: steps)
      let encoder = embedding.encoder
      rows.append(
        Row(
          family: group.description, order: group.order,
          realCharacters: group.realCharacterCount,
          hasTripleProductProperty: embedding.hasTripleProductProperty, rank: group.realRank,
          error: embedding.error, freeReadOutError: encoder.optimallyDecoded.error,
          keepError: max(0, 1 - Double(group.realRank) / Double(tile * tile * tile)),
          refinedError: try fitter?.refine(encoder, seed: seed).error))
    }
    return rows
  }
}
