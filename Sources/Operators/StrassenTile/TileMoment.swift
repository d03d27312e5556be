import MLX

/// The second moment of the tiles that a Strassen-Tile layer forms of its inputs, and how many tiles
/// it comes from.
public struct TileMoment {
  /// E[x xᵀ] of t stacked rows [t·K, t·K], row-major (row, input), `float32`.
  public var matrix: MLXArray
  /// The tiles that it is the mean of.
  public var tiles: Int

  /// Makes a moment that was summed elsewhere.
  public init(matrix: MLXArray, tiles: Int) {
    self.matrix = matrix
    self.tiles = tiles
  }

  /// The moment of sample inputs [..., K], cut into tiles by a row policy, zero rows included where
  /// they occur; without the mean if `centred`.
  ///
  /// A layer with a bias is best fitted to centred inputs: the bias takes care of the mean.
  ///
  /// Cost: t·K² multiply-adds a row.
  public init(of sample: MLXArray, tile: Int, rows: RowPolicy = .sequence, centred: Bool = false) {
    let arrangement = StrassenTile.Arrangement(sample.shape, tile: tile, rows: rows)
    let inputs = sample.dim(-1)
    var stacked = arrangement.stackedRows(sample.asType(.float32))
    if centred { stacked = stacked - mean(stacked, axis: 0, keepDims: true) }
    tiles = arrangement.tiles
    matrix =
      tiles > 0
      ? matmul(stacked.transposed(), stacked) / tiles
      : .zeros([tile * inputs, tile * inputs])
  }

  /// The share ρ of white inputs that the moment is mixed with, (1 − ρ) S + ρ tr(S)/n I.
  ///
  /// It is the share that minimises the expected squared distance to the true moment if n tiles were
  /// drawn independently from a Gaussian, oracle approximating shrinkage (Chen, Wiesel, Eldar, Hero,
  /// IEEE Transactions on Signal Processing 58, 2010, equation 23). With few tiles it goes to 1, and
  /// a fit in the mixed norm to the fit for white inputs; with many it goes to 0.
  public func shrinkage() throws -> Double {
    let n = Double(matrix.dim(0))
    func value(_ array: MLXArray) throws -> Double { Double(try array.item(Float.self)) }
    let trace = try value(sum(diagonal(matrix)))
    let square = try value(sum(matrix * matrix))
    guard square.isFinite else { throw StrassenTileError.notFinite("a tile moment") }
    guard trace > 0, n > 1 else { return 0 }
    let spread = square - trace * trace / n
    let noise = (1 - 2 / n) * square + trace * trace
    let denominator = (Double(tiles) + 1 - 2 / n) * spread
    return denominator > noise ? noise / denominator : 1
  }

  /// The moment mixed with white inputs by a share ρ.
  public func mixed(_ share: Double) -> MLXArray {
    let n = matrix.dim(0)
    let level = sum(diagonal(matrix)) * (share / Double(max(1, n)))
    return matrix * (1 - share) + level * MLXArray.eye(n)
  }
}
