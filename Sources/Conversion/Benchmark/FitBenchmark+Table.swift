import Reports

extension FitBenchmark {
  /// What the columns of ``table`` are.
  private static let header = [
    "layer", "R", "multiply-adds", "library", "own", "shared", "low rank", "BTT", "2:4 at 0.50",
    "parameters", "low rank", "BTT",
  ]

  private func cells(_ row: Row) -> [String] {
    // A budget that the dense layer is within leaves no error.
    func error(_ fit: Fit?) -> String { fit.map { decimal($0.error) } ?? "dense" }
    return [
      row.layer, "\(row.rank)", decimal(row.own.multiplyAdds, places: 2),
      decimal(row.library.error), decimal(row.own.error),
      row.shared.map { decimal($0.error) } ?? "–", error(row.lowRank), error(row.btt),
      decimal(row.twoFour.error), decimal(row.own.parameters, places: 2),
      error(row.lowRankOfEqualParameters), error(row.bttOfEqualParameters),
    ]
  }

  /// The errors as text: Strassen-Tile, its rivals of as many multiply-adds, those of as many
  /// parameters.
  public var table: String {
    var table = TextTable(Self.header)
    for row in rows { table.append(cells(row)) }
    let shares = shrinkage.values.sorted()
    let white =
      shares.first.map { low in
        "\(decimal(low))–\(decimal(shares[shares.count - 1]))"
      } ?? "0"
    return """
      \(model), \(examples.summary(tiles: tiles)), \(machine.summary)
      \(table)

      ‖ŷ − y‖ / ‖y‖ on held-out inputs; dense: the dense layer costs no more
      library: the library's encoder; own: encoder, decoder and weight fitted for the layer in \
      \(alternations) rounds; shared: for all layers with its input
      low rank and BTT first of as many multiply-adds, then of as many parameters
      the norm of Strassen-Tile's fits has a share of \(white) of white inputs
      """
  }
}
