extension FittedTable {
  /// All fitted tables by tile and rank.
  public static let library: [FittedTable] = []
}
