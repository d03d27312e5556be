import MLX

/// Overlapping windows of a grid, each as one token: what PyTorch calls unfold.
///
/// Source: Yuan et al., "Tokens-to-Token ViT", 2021, section 3.1, "soft split".
struct SoftSplit: Hashable, Sendable {
  /// The height and width of a window.
  let side: Int
  /// The distance between windows.
  let stride: Int
  /// The zeros around the grid.
  let padding: Int

  /// The three splits of the tokens-to-token stage: an image side shrinks about 16 times.
  static let stage = [
    SoftSplit(side: 7, stride: 4, padding: 2), SoftSplit(side: 3, stride: 2, padding: 1),
    SoftSplit(side: 3, stride: 2, padding: 1),
  ]

  /// The windows along an axis of the given size, at least 4.
  func count(_ size: Int) -> Int { (size + 2 * padding - side) / stride + 1 }

  /// A grid [B, H, W, C] → tokens [B, windows, C · side²], windows row by row, in each the channels
  /// first.
  func callAsFunction(_ grid: MLXArray) -> MLXArray {
    let (rows, columns) = (count(grid.dim(1)), count(grid.dim(2)))
    let around = (padding, padding)
    let room = padded(grid, widths: [(0, 0), around, around, (0, 0)])
    // One axis after the other: 2 · side slices in place of side².
    let byRow = windows(room, axis: 1, count: rows)
    let byColumn = windows(byRow, axis: 3, count: columns)
    // [B, i, rows, j, columns, C]
    return byColumn.transposed(0, 2, 4, 5, 1, 3)
      .reshaped(grid.dim(0), rows * columns, grid.dim(3) * side * side)
  }

  /// An axis replaced by two: the place in a window, and the window.
  private func windows(_ x: MLXArray, axis: Int, count: Int) -> MLXArray {
    let last = (count - 1) * stride
    let slices = (0..<side).map { place in
      let range = Swift.stride(from: place, to: place + last + 1, by: stride)
      return axis == 1 ? x[0..., range] : x[0..., 0..., 0..., range]
    }
    return stacked(slices, axis: axis)
  }
}
