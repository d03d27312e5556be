import Encoders

extension OperatorSpec {
  /// The structure for a layer that starts from random weights and reads the tokens of a sample: Strassen-Tile of no
  /// named encoder gets tables of random numbers in place of the library's, unless those are exact.
  ///
  /// A fitted encoder of low rank multiplies as well as it can by looking at a part of a tile only, and what a layer
  /// of a stack does not look at is gone: such a stack stays near chance where random tables train well (the studies'
  /// T2T-ViT). Where the rows of a tile have nothing to do with each other, random tables only mix them up.
  public func startingAnew(seed: UInt64) -> OperatorSpec {
    guard case .strassenTile(let rank, let tile, nil, .sequence) = self,
      let encoder = try? Encoder.best(tile: tile, rank: rank), !encoder.isExact
    else { return self }
    return .strassenTile(rank: rank, tile: tile, encoder: "random-\(seed)", rows: .sequence)
  }
}
