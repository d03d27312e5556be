import Encoders
import Reports

/// What group algebras give as encoders, group by group.
public struct GroupTable: Codable, Sendable {
  /// t.
  public var tile: Int
  /// The seed of the search for placements.
  public var seed: UInt64
  /// Starts a group.
  public var starts: Int
  /// Steps a start.
  public var steps: Int
  /// A row a group.
  public var rows: [GroupEmbedding.Row]

  /// Searches placements of t×t tiles in groups, and with a fitter refines the best of each.
  ///
  /// Throws `EncoderError` for a group, tile or number out of range.
  public init(
    groups: [AbelianGroup]? = nil, tile: Int = 4, seed: UInt64 = 1, starts: Int = 16,
    steps: Int = 2000, refinedBy fitter: EncoderFitter? = nil
  ) throws {
    self.tile = tile
    self.seed = seed
    self.starts = starts
    self.steps = steps
    rows = try GroupEmbedding.comparison(
      groups: try groups ?? GroupEmbedding.comparedFactors.map { try AbelianGroup($0) },
      tile: tile, seed: seed, starts: starts, steps: steps, refinedBy: fitter)
  }

  /// The table as text.
  public var table: String {
    let isRefined = rows.contains { $0.refinedError != nil }
    var table = TextTable(
      [
        "group", "elements", "real characters", "rank", "triple product", "error", "free read-out",
        "keep R", "better than keeping",
      ] + (isRefined ? ["refined"] : []))
    for row in rows {
      table.append(
        [
          row.family, "\(row.order)", "\(row.realCharacters)", "\(row.rank)",
          row.hasTripleProductProperty ? "yes" : "no", decimal(row.error, places: 4),
          decimal(row.freeReadOutError, places: 4), decimal(row.keepError, places: 4),
          row.isBetterThanKeeping ? "yes" : "no",
        ] + (isRefined ? [row.refinedError.map { decimal($0, places: 4) } ?? "–"] : []))
    }
    return """
      \(table)

      rank: real products, one a real character and three a pair of complex ones
      triple product: the placement found has the property of Cohn and Umans, all differences tried
      error: read out by group element; free read-out: from the real products, least squares
      keep R: the error of that many of the \(tile * tile * tile) products
      """
  }
}
