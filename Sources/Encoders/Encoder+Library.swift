extension Encoder {
  /// All encoders of the library: the exact ones, then the fitted ones by tile and rank.
  public static let library: [Encoder] =
    ExactTable.library.map(\.encoder) + FittedTable.library.map(fitted)

  /// The names of the library.
  public static var names: [String] {
    ExactTable.library.map(\.name) + FittedTable.library.map(\.name)
  }

  /// The encoder of the library with a name: "strassen", "rank48-accurate", "fitted-4-24", ….
  ///
  /// - Throws: ``EncoderError/unknown(name:known:)`` if there is none.
  public static func named(_ name: String) throws(EncoderError) -> Encoder {
    if let table = ExactTable.library.first(where: { $0.name == name }) { return table.encoder }
    if let table = FittedTable.library.first(where: { $0.name == name }) { return fitted(table) }
    throw .unknown(name: name, known: names)
  }

  /// The encoder of the library with a name, or for `random-SEED` tables of random numbers of a tile
  /// and rank: what training starts from where nothing is known of products of matrices.
  ///
  /// - Throws: ``EncoderError/unknown(name:known:)`` if there is none.
  public static func named(
    _ name: String, tile: Int, rank: Int
  ) throws(EncoderError) -> Encoder {
    guard name.hasPrefix(randomPrefix), let seed = UInt64(name.dropFirst(randomPrefix.count)),
      (1...64).contains(tile), (1...1 << 20).contains(rank)
    else { return try named(name) }
    var generator = SeededGenerator(seed: seed)
    return random(name, tile: tile, rank: rank, seed: seed, using: &generator)
  }

  private static let randomPrefix = "random-"

  /// Tables of independent numbers of deviation ½.
  static func random(
    _ name: String, tile: Int, rank: Int, seed: UInt64? = nil,
    using generator: inout SeededGenerator
  ) -> Encoder {
    func table(_ generator: inout SeededGenerator) -> [Double] {
      (0..<rank * tile * tile).map { _ in 0.5 * generator.nearNormal() }
    }
    let (activation, weight) = (table(&generator), table(&generator))
    return Encoder(
      uncheckedName: name, tile: tile, rank: rank, activation: activation, weight: weight,
      decoder: table(&generator), provenance: Encoder.Provenance(source: "random", seed: seed))
  }

  /// The encoder to use for a tile and rank when no name is given.
  ///
  /// An exact one where there is one, that of least noise gain, otherwise the fitted one. Noise gain
  /// orders the exact tables of a tile as their measured error in bfloat16 does.
  ///
  /// - Throws: ``EncoderError/unavailable(tile:rank:)`` if the library has neither.
  public static func best(tile: Int, rank: Int) throws(EncoderError) -> Encoder {
    let exact = ExactTable.library.filter { $0.tile == tile && $0.rank == rank }.map(\.encoder)
    if let encoder = exact.min(by: { $0.noiseGain < $1.noiseGain }) { return encoder }
    guard let table = FittedTable.library.first(where: { $0.tile == tile && $0.rank == rank })
    else { throw .unavailable(tile: tile, rank: rank) }
    return fitted(table)
  }

  /// The exact encoder to use for a tile: that of fewest products, and of least noise among those.
  ///
  /// - Throws: ``EncoderError/unavailable(tile:rank:)`` with the rank of the classical algorithm if
  ///   the library has none.
  public static func exact(tile: Int) throws(EncoderError) -> Encoder {
    let tables = ExactTable.library.filter { $0.tile == tile }
    guard let rank = tables.map(\.rank).min() else {
      throw .unavailable(tile: tile, rank: tile * tile * tile)
    }
    return try best(tile: tile, rank: rank)
  }

  private static func fitted(_ table: FittedTable) -> Encoder {
    do {
      return try table.encoder()
    } catch {
      preconditionFailure("a fitted table of the library does not parse: \(error)")
    }
  }
}
