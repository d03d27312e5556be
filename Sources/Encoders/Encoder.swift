/// A bilinear algorithm for products of t×t tiles: two encoders and a decoder.
///
/// Alphabet: t tile side, R rank (number of products). With `vec` row-major and C = A·B,
///
///     vec(C) ≈ decoderᵀ ((activation · vec(A)) ∘ (weight · vec(B)))
///
/// where ∘ is the elementwise product. The algorithm is exact iff
/// Σ_p u_p ⊗ v_p ⊗ w_p is the matrix multiplication tensor of t×t matrices (Strassen 1969; in the
/// form used here: Ailon, Bercovich, Weinstein, arXiv 2503.12211). Values are plain `Double`s, so an
/// encoder is independent of any array library.
public struct Encoder: Sendable, Hashable, CustomStringConvertible {
  /// Where an encoder comes from, enough to make it again.
  public struct Provenance: Sendable, Hashable {
    /// The paper or the construction.
    public var source: String
    /// The seed of the search that found it, or nil for a construction without chance.
    public var seed: UInt64?
    /// The command that makes it again, or nil for a table taken from a paper.
    public var command: String?

    /// Creates a provenance record.
    public init(source: String, seed: UInt64? = nil, command: String? = nil) {
      self.source = source
      self.seed = seed
      self.command = command
    }
  }

  /// The name under which ``named(_:)`` finds it.
  public var name: String
  /// The tile side t.
  public let tile: Int
  /// The number of products R.
  public let rank: Int
  /// The activation encoder U, [R, t²] row-major.
  public var activation: [Double]
  /// The weight encoder V, [R, t²] row-major.
  public var weight: [Double]
  /// The decoder W, [R, t²] row-major; its transpose decodes.
  public var decoder: [Double]
  /// Where the numbers come from.
  public var provenance: Provenance

  /// Creates an encoder from its three tables, each [R, t²] row-major.
  ///
  /// - Throws: ``EncoderError/shape(name:expected:got:)`` if a table has another number of entries,
  ///   ``EncoderError/notFinite(name:)`` if an entry is infinite or not a number.
  public init(
    name: String, tile: Int, rank: Int, activation: [Double], weight: [Double], decoder: [Double],
    provenance: Provenance
  ) throws(EncoderError) {
    guard tile > 0, tile <= 64, rank > 0, rank <= 1 << 20 else {
      throw .size(name: name, tile: tile, rank: rank)
    }
    let expected = rank * tile * tile
    for table in [activation, weight, decoder] {
      guard table.count == expected else {
        throw .shape(name: name, expected: expected, got: table.count)
      }
      guard table.allSatisfy(\.isFinite) else { throw .notFinite(name: name) }
    }
    self.init(
      uncheckedName: name, tile: tile, rank: rank, activation: activation, weight: weight,
      decoder: decoder, provenance: provenance)
  }

  /// The initialiser for tables made inside the module, whose sizes hold by construction.
  init(
    uncheckedName name: String, tile: Int, rank: Int, activation: [Double], weight: [Double],
    decoder: [Double], provenance: Provenance
  ) {
    precondition(activation.count == rank * tile * tile)
    precondition(weight.count == activation.count && decoder.count == activation.count)
    self.name = name
    self.tile = tile
    self.rank = rank
    self.activation = activation
    self.weight = weight
    self.decoder = decoder
    self.provenance = provenance
  }

  /// "strassen (tile 2, rank 7)".
  public var description: String { "\(name) (tile \(tile), rank \(rank))" }

  /// The number of entries of a tile, t².
  public var tileArea: Int { tile * tile }

  /// The number of scalar products of the classical algorithm, t³.
  public var classicalRank: Int { tile * tile * tile }
}

/// What can be wrong with an encoder table or a request for one.
public enum EncoderError: Error, Equatable, CustomStringConvertible {
  /// A tile side or a rank outside the supported range.
  case size(name: String, tile: Int, rank: Int)
  /// A table whose number of entries is not R·t².
  case shape(name: String, expected: Int, got: Int)
  /// A table with an infinite entry or one that is not a number.
  case notFinite(name: String)
  /// A table entry that is not a number or a fraction.
  case malformed(name: String, entry: String)
  /// Exact arithmetic left the range of 64-bit integers.
  case overflow(name: String)
  /// The first coefficient at which a table differs from the matrix multiplication tensor.
  case notExact(name: String, mismatch: TensorMismatch)
  /// A name that is in no library.
  case unknown(name: String, known: [String])
  /// A tile and rank for which the library has no encoder.
  case unavailable(tile: Int, rank: Int)
  /// A request to the fitter that it cannot serve.
  case request(String)

  /// One sentence that says what was expected, what was found and what to do.
  public var description: String {
    switch self {
    case .size(let name, let tile, let rank):
      "[encoder] \(name): expected a tile side in 1...64 and a rank in 1...\(1 << 20), "
        + "got tile \(tile) and rank \(rank); check the table"
    case .shape(let name, let expected, let got):
      "[encoder] \(name): expected \(expected) entries (rank x tile squared) in each table, "
        + "got \(got); check the table"
    case .notFinite(let name):
      "[encoder] \(name): expected finite entries, got an infinity or a NaN; check the table"
    case .malformed(let name, let entry):
      "[encoder] \(name): expected an integer or a fraction such as -1/8, got \"\(entry)\"; "
        + "check the table"
    case .overflow(let name):
      "[encoder] \(name): expected a proof within 64-bit rationals, got an overflow; "
        + "scale the table to smaller denominators"
    case .notExact(let name, let mismatch):
      "[encoder] \(name): expected the matrix multiplication tensor, got \(mismatch); "
        + "the table is not exact"
    case .unknown(let name, let known):
      "[encoder] expected one of \(known.joined(separator: ", ")), got \"\(name)\"; "
        + "see `tessera encoders list`"
    case .unavailable(let tile, let rank):
      "[encoder] expected a tile and rank of the library, got tile \(tile) and rank \(rank); "
        + "see `tessera encoders list` or fit one with `tessera encoders fit`"
    case .request(let text): "[encoder] \(text)"
    }
  }
}
