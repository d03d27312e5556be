import MLX
import Operators

/// The tiles that a Strassen-Tile layer forms of the rows of a batch.
struct RowTiles {
  /// [P, n, t·K]: n tiles in P independent sequences of rows, zero rows at the end of each.
  let stacked: MLXArray
  /// The rows of a sequence's last tile that are no padding, 1 to t.
  let lastRows: Int

  /// Cuts inputs [B, T, K], or [B, K], as the layer's row policy has it.
  init(_ x: MLXArray, _ structure: StrassenTile) {
    let rows =
      switch structure.rows {
      case .sequence where x.ndim == 3: x
      case .batch where x.ndim == 3: x.transposed(1, 0, 2)
      case .sequence, .batch, .flat: x.reshaped([1, -1, x.dim(-1)])
      }
    let (tile, length) = (structure.tile, rows.dim(1))
    let count = (length + tile - 1) / tile
    lastRows = length - (count - 1) * tile
    stacked = padded(rows, widths: [(0, 0), (0, count * tile - length), (0, 0)])
      .reshaped([rows.dim(0), count, tile * rows.dim(-1)])
  }

  /// All tiles [P·n, t·K].
  var all: MLXArray { stacked.reshaped([-1, stacked.dim(-1)]) }

  /// The sum of the tiles [t·K] that hold each number of rows, fewest first.
  func sums(tile: Int) -> [MLXArray] {
    let last = stacked.dim(1) - 1
    var sums = [MLXArray](repeating: .zeros([stacked.dim(-1)]), count: tile)
    sums[tile - 1] = sum(stacked[0..., 0..<last], axes: [0, 1])
    sums[lastRows - 1] = sums[lastRows - 1] + sum(stacked[0..., last], axis: 0)
    return sums
  }
}
