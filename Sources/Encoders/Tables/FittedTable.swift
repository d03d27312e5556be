/// A fitted encoder as it is shipped: coefficients in units of 10⁻⁴, as text.
///
/// The text is parsed on demand; Swift compiles a string literal in no time, unlike a large array.
/// Rounding to 10⁻⁴ moves the error by about 10⁻⁶: it is second order in the rounding, since the
/// tables are near stationary points.
public struct FittedTable: Sendable, CustomStringConvertible {
  /// The tile side t.
  public let tile: Int
  /// The number of products R.
  public let rank: Int
  /// The seed of the search.
  public let seed: UInt64
  /// The rounds of the search.
  public let rounds: Int
  /// The tables U, V, W, each [R, t²] row-major, in units of 10⁻⁴, separated by white space.
  let text: String

  /// Coefficients per unit.
  static let scale = 1e4

  init(tile: Int, rank: Int, seed: UInt64, rounds: Int, text: String) {
    self.tile = tile
    self.rank = rank
    self.seed = seed
    self.rounds = rounds
    self.text = text
  }

  /// Rounds the outcome of a search to what is shipped.
  public init(_ fit: EncoderFitter.Fit) {
    let encoder = fit.encoder
    let entries = (encoder.activation + encoder.weight + encoder.decoder).map {
      String(Int(($0 * Self.scale).rounded()))
    }
    self.init(
      tile: encoder.tile, rank: encoder.rank, seed: fit.encoder.provenance.seed ?? 0,
      rounds: fit.rounds, text: entries.joined(separator: " "))
  }

  /// The name of the encoder: "fitted-4-24".
  public var name: String { "fitted-\(tile)-\(rank)" }

  /// "fitted-4-24 (tile 4, rank 24)".
  public var description: String { "\(name) (tile \(tile), rank \(rank))" }

  /// The command that finds the table again from nothing.
  public var command: String {
    "tessera encoders fit --tile \(tile) --rank \(rank) --seed \(seed) --rounds \(rounds)"
  }

  /// The encoder.
  ///
  /// - Throws: ``EncoderError`` if the text is not R·t² integers three times.
  public func encoder() throws(EncoderError) -> Encoder {
    var entries: [Double] = []
    entries.reserveCapacity(3 * rank * tile * tile)
    for word in text.utf8.split(whereSeparator: { $0 == 0x20 || $0 == 0x0A }) {
      guard let entry = Int(Substring(word)) else {
        throw .malformed(name: name, entry: String(Substring(word)))
      }
      entries.append(Double(entry) / Self.scale)
    }
    let count = rank * tile * tile
    guard entries.count == 3 * count else {
      throw .shape(name: name, expected: count, got: entries.count / 3)
    }
    return try Encoder(
      name: name, tile: tile, rank: rank, activation: Array(entries[..<count]),
      weight: Array(entries[count..<2 * count]), decoder: Array(entries[(2 * count)...]),
      provenance: Encoder.Provenance(
        source: "least squares within bounds", seed: seed, command: command))
  }

  /// The table as a Swift expression for `Tables/`, lines of at most 98 columns.
  public var declaration: String {
    var lines: [String] = []
    var line = ""
    for word in text.split(whereSeparator: \.isWhitespace) {
      if line.utf8.count + word.utf8.count > 92 {
        lines.append(line)
        line = ""
      }
      line += line.isEmpty ? "      \(word)" : " \(word)"
    }
    lines.append(line)
    return """
          FittedTable(
            tile: \(tile), rank: \(rank), seed: \(seed), rounds: \(rounds),
            text: \"\"\"
      \(lines.joined(separator: "\n"))
            \"\"\"),
      """
  }
}
