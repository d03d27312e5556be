extension FittedTable {
  /// All fitted tables by tile and rank.
  public static let library: [FittedTable] = tile2 + tile3 + tile4Low + tile4Middle + tile4High
}
