extension ExactTable {
  /// Strassen's algorithm: tile 2, rank 7.
  public static let strassen = builtIn(
    Strassen.name, Strassen.tile, Strassen.rank, Strassen.activation, Strassen.weight,
    Strassen.decoder, Strassen.source)

  /// Winograd's form of Strassen's algorithm: tile 2, rank 7, 15 additions.
  public static let winograd = builtIn(
    Winograd.name, Winograd.tile, Winograd.rank, Winograd.activation, Winograd.weight,
    Winograd.decoder, Winograd.source)

  /// Laderman's algorithm: tile 3, rank 23.
  public static let laderman = builtIn(
    Laderman.name, Laderman.tile, Laderman.rank, Laderman.activation, Laderman.weight,
    Laderman.decoder, Laderman.source)

  /// The Kronecker square of Strassen's algorithm: tile 4, rank 49, coefficients 0 and ±1.
  public static let strassenSquared = square(strassen, name: "strassen-squared")

  /// The Kronecker square of Winograd's form: tile 4, rank 49, coefficients 0 and ±1.
  public static let winogradSquared = square(winograd, name: "winograd-squared")

  /// The accurate rank-48 algorithm of Dumas, Pernet and Sedoglavic: tile 4.
  public static let rank48Accurate = builtIn(
    Rank48Accurate.name, Rank48Accurate.tile, Rank48Accurate.rank, Rank48Accurate.activation,
    Rank48Accurate.weight, Rank48Accurate.decoder, Rank48Accurate.source)

  /// The rational rank-48 algorithm of Dumas, Pernet and Sedoglavic: tile 4.
  public static let rank48Rational = builtIn(
    Rank48Rational.name, Rank48Rational.tile, Rank48Rational.rank, Rank48Rational.activation,
    Rank48Rational.weight, Rank48Rational.decoder, Rank48Rational.source)

  /// All exact tables, by tile and rank.
  public static let library = [
    strassen, winograd, laderman, rank48Accurate, rank48Rational, strassenSquared, winogradSquared,
  ]

  private static func builtIn(
    _ name: String, _ tile: Int, _ rank: Int, _ activation: String, _ weight: String,
    _ decoder: String, _ source: String
  ) -> ExactTable {
    do {
      return try ExactTable(
        name: name, tile: tile, rank: rank, activation: activation, weight: weight,
        decoder: decoder, source: source)
    } catch {
      preconditionFailure("a table of the library does not parse: \(error)")
    }
  }

  private static func square(_ table: ExactTable, name: String) -> ExactTable {
    do {
      return try table.kronecker(table, name: name)
    } catch {
      preconditionFailure("a table with entries 0 and ±1 overflowed: \(error)")
    }
  }
}
