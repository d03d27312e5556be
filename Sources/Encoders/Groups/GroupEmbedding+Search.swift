extension GroupEmbedding {
  /// The best placement found by hill climbing from random starts.
  ///
  /// A start is of the form of Cohn and Umans; a step moves the element of one entry of either tile
  /// and is kept if the error does not rise. The result depends on the seed and the numbers only.
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
    group: AbelianGroup, tile: Int, seed: UInt64, starts: Int = 8, steps: Int = 4000
  ) throws(EncoderError) -> GroupEmbedding {
    guard (1...8).contains(tile), starts >= 1, steps >= 0 else {
      throw .request(
        "expected a tile side in 1...8 and at least one start, got tile \(tile), "
          + "\(starts) starts of \(steps) steps; change the request")
    }
    let sums = group.sumTable()
    let area = tile * tile
    var best: (embedding: GroupEmbedding, error: Double)?
    for start in 0..<starts {
      var generator = SeededGenerator(seed: seed, stream: start)
      func elements() -> [Int] { (0..<tile).map { _ in generator.index(below: group.order) } }
      var current = try GroupEmbedding(
        group: group, rows: elements(), inner: elements(), columns: elements())
      var error = current.error(sums: sums)
      for _ in 0..<steps where error > 0 {
        var (alpha, beta) = (current.activation, current.weight)
        let entry = generator.index(below: 2 * area)
        let element = generator.index(below: group.order)
        if entry < area { alpha[entry] = element } else { beta[entry - area] = element }
        let moved = try GroupEmbedding(
          group: group, tile: tile, activation: alpha, weight: beta)
        let movedError = moved.error(sums: sums)
        if movedError <= error { (current, error) = (moved, movedError) }
      }
      if error < best?.error ?? .infinity { best = (current, error) }
    }
    guard let best else { throw .request("expected at least one start, got none; ask for more") }
    return best.embedding
  }

  /// A row of the comparison of groups.
  public struct Row: Sendable, Hashable {
    /// The group, as "Z2^4".
    public var family: String
    /// The number of elements, the rank over the complex numbers.
    public var order: Int
    /// The number of real products.
    public var rank: Int
    /// The error of the best placement found.
    public var error: Double
    /// The error of keeping as many of the t³ products.
    public var keepError: Double
    /// The error after least squares within the fitter's bound, from this start only; nil if it was
    /// not asked for.
    public var refinedError: Double?
  }

  /// The groups compared by default for tile 4: Walsh–Hadamard groups and some of order 24 to 27.
  public static let comparedFactors: [[Int]] = [
    [2, 2, 2, 2], [16], [4, 4], [2, 2, 2, 2, 2], [24], [2, 2, 6], [5, 5], [3, 3, 3],
    [2, 2, 2, 2, 2, 2],
  ]

  /// Searches every group and reports error against rank, with and without refinement.
  ///
  /// - Throws: ``EncoderError`` for a group or tile out of range.
  public static func comparison(
    groups: [AbelianGroup], tile: Int, seed: UInt64, starts: Int = 8, steps: Int = 4000,
    refinedBy fitter: EncoderFitter? = nil
  ) throws(EncoderError) -> [Row] {
    var rows: [Row] = []
    for group in groups {
      let embedding = try search(
        group: group, tile: tile, seed: seed, starts: starts, steps: steps)
      rows.append(
        Row(
          family: group.description, order: group.order, rank: group.realRank,
          error: embedding.error,
          keepError: max(0, 1 - Double(group.realRank) / Double(tile * tile * tile)),
          refinedError: try fitter?.refine(embedding.encoder, seed: seed).error))
    }
    return rows
  }
}
