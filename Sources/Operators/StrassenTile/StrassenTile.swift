import Encoders
import MLX
import OrderedCollections

/// The Strassen-Tile layer: a dense layer whose tile products are done by a bilinear algorithm of
/// fewer multiplications.
///
/// X [M, K] is cut into tiles of t rows and t inputs, each tile is encoded to R numbers, for each of
/// the R planes an ordinary matrix product with the stored plane of the weight follows, and each
/// tile of the result is decoded once. (Ailon, Bercovich, Weinstein, arXiv 2503.12211.)
///
/// With an exact encoder (``/Encoders/Encoder``; rank 7 for t = 2, 49 or 48 for t = 4) and the weight from
/// ``fit(_:)`` it computes X Wᵀ. With a smaller rank it is a different layer, which mixes the t rows
/// of a tile: ``RowPolicy`` says which rows these are, ``validate(for:insisting:)`` which policies
/// a causal model can bear, ``LeakTest`` measures it.
///
/// - Parameters: `weight` [R, N/t, K/t], `encoder` [R, t²], `decoder` [R, t²], N and K rounded up to
///   whole tiles.
/// - Multiply-adds a row: N·K·R/t³ products, K·R to encode, N·R to decode. Against N·K of the dense
///   layer this is cheaper for square layers wider than 2R / (1 − R/t³).
///
/// Zero rows and columns pad to whole tiles. A zero column changes nothing. A zero row does where the
/// encoder is not exact: a row's result depends on whether its neighbours in the tile are there.
///
/// The index algebra, with i a tile of rows, l a tile of inputs, j a tile of outputs, a, b, c places
/// in a tile, p a plane, U the encoder, V the weight encoder, D the decoder:
///
///     the algorithm multiplies A·B = C; here A = X, B = Wᵀ [K, N], C = Y
///     A tile (i, l) [a, b] = X[i·t + a, l·t + b]
///     B tile (l, j) [b, c] = W[j·t + c, l·t + b]           (so a tile of W enters transposed)
///     φ[p, i, l]  = Σ_ab U[p, a·t + b] · X[i·t + a, l·t + b]
///     w[p, j, l]  = Σ_bc V[p, b·t + c] · W[j·t + c, l·t + b]        (or free: the parameter)
///     z[p, i, j]  = Σ_l φ[p, i, l] · w[p, j, l]            (R products φ[p] · w[p]ᵀ)
///     Y[i·t + a, j·t + c] = Σ_p D[p, a·t + c] · z[p, i, j]
public struct StrassenTile: LinearOperator, Hashable {
  /// K, the length of an input row.
  public let inputs: Int
  /// N, the length of an output row.
  public let outputs: Int
  /// Which rows form a tile.
  public let rows: RowPolicy
  /// The algorithm that fits and random initialisation start from.
  ///
  /// Its tables are copied into the parameters, which may be trained further.
  public let encoder: Encoder

  /// Makes the operator with an algorithm of one's own.
  public init(inputs: Int, outputs: Int, encoder: Encoder, rows: RowPolicy = .sequence) {
    precondition(inputs > 0 && outputs > 0)
    self.inputs = inputs
    self.outputs = outputs
    self.encoder = encoder
    self.rows = rows
  }

  /// Makes the operator with an algorithm of the library: the one with the name, or else the best
  /// for the tile and rank; `random-SEED` has tables of random numbers.
  ///
  /// Throws `EncoderError` where the library has none, and ``StrassenTileError/encoder(_:tile:rank:)``
  /// where the named one has another tile or rank.
  public init(
    inputs: Int, outputs: Int, rank: Int, tile: Int = 4, encoder name: String? = nil,
    rows: RowPolicy = .sequence
  ) throws {
    let encoder =
      try name.map { try Encoder.named($0, tile: tile, rank: rank) }
      ?? Encoder.best(tile: tile, rank: rank)
    guard encoder.tile == tile, encoder.rank == rank else {
      throw StrassenTileError.encoder(encoder, tile: tile, rank: rank)
    }
    self.init(inputs: inputs, outputs: outputs, encoder: encoder, rows: rows)
  }

  /// The tile side t.
  public var tile: Int { encoder.tile }

  /// The number of planes R.
  public var rank: Int { encoder.rank }

  /// K/t rounded up, the tiles of an input row.
  public var inputTiles: Int { (inputs + tile - 1) / tile }

  /// N/t rounded up, the tiles of an output row.
  public var outputTiles: Int { (outputs + tile - 1) / tile }

  /// The structure with every choice made.
  public var spec: OperatorSpec {
    .strassenTile(rank: rank, tile: tile, encoder: encoder.name, rows: rows)
  }

  /// `weight` [R, N/t, K/t], `encoder` [R, t²], `decoder` [R, t²].
  public var shapes: OrderedDictionary<String, [Int]> {
    [
      Name.weight: [rank, outputTiles, inputTiles],
      Name.encoder: [rank, tile * tile],
      Name.decoder: [rank, tile * tile],
    ]
  }

  /// Multiply-adds and parameters, encode and decode counted, of whole tiles.
  ///
  /// The intermediates are the encoded rows and the product planes, R/t² numbers each for an input
  /// and an output. Layers that share ``encode(_:_:)`` save K·R of the multiply-adds each after the
  /// first.
  public var cost: Cost {
    let products = Double(rank * inputTiles * outputTiles) / Double(tile)
    let coding = Double(rank * tile * (inputTiles + outputTiles))
    return Cost(
      parameters: rank * inputTiles * outputTiles + 2 * rank * tile * tile,
      multiplyAdds: products + coding,
      intermediates: Double(rank * (inputTiles + outputTiles)) / Double(tile))
  }

  /// The parameters that change bases, few numbers beside the weight: often frozen.
  public static let bases: Set<String> = [Name.encoder, Name.decoder]

  /// The parameter that encodes inputs: layers that have the same one may share the encoding.
  public static let encoderParameter = Name.encoder

  /// The names of the parameters in a checkpoint.
  enum Name {
    static let weight = "weight"
    static let encoder = "encoder"
    static let decoder = "decoder"
  }
}

/// What can be wrong with a Strassen-Tile layer.
public enum StrassenTileError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The named algorithm has another tile or rank than asked for.
  case encoder(Encoder, tile: Int, rank: Int)
  /// A row policy that mixes tokens in a model that must not.
  case causal(rows: RowPolicy, encoder: String)
  /// An array of a fit or of a product that has not the shape it must have.
  case shape(String, expected: [Int], got: [Int])
  /// An array with an infinite element or one that is not a number.
  case notFinite(String)

  /// One sentence: what was expected, what was found, what to do.
  public var description: String {
    switch self {
    case .encoder(let encoder, let tile, let rank):
      """
      [strassen-tile] expected an encoder of tile \(tile) and rank \(rank), got "\(encoder.name)" \
      of tile \(encoder.tile) and rank \(encoder.rank); give its rank and tile in the spec.
      """
    case .causal(let rows, let encoder):
      """
      [strassen-tile] expected tiles that do not mix the tokens of a causal model, got \
      rows=\(rows.rawValue) with the encoder "\(encoder)", which is not exact, so that an output \
      would see later tokens; use rows=batch or an exact encoder (rank 48 or 49).
      """
    case .shape(let what, let expected, let got):
      "[strassen-tile] expected \(what) of shape \(expected), got \(got); check the checkpoint."
    case .notFinite(let what):
      "[strassen-tile] expected a finite \(what), got an infinity or a NaN; check the checkpoint."
    }
  }
}
