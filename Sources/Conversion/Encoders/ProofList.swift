import Encoders

/// The exact tables of the library, each proved over the rational numbers.
public struct ProofList: Codable, Sendable {
  /// A table that is proved.
  public struct Proof: Codable, Sendable {
    /// Its name.
    public var name: String
    /// t.
    public var tile: Int
    /// R.
    public var rank: Int
    /// The equations of Brent that hold, t⁶.
    public var equations: Int
  }

  /// The proofs.
  public var proofs: [Proof]

  /// Proves every table; throws `EncoderError` with the first equation that fails.
  public init() throws {
    proofs = try ExactTable.library.map { table in
      try table.prove()
      let area = table.tile * table.tile
      return Proof(
        name: table.name, tile: table.tile, rank: table.rank, equations: area * area * area)
    }
  }

  /// A line a table.
  public var text: String {
    proofs.map {
      "proved: \($0.name) (tile \($0.tile), rank \($0.rank)), \($0.equations) equations"
    }
    .joined(separator: "\n")
  }
}
