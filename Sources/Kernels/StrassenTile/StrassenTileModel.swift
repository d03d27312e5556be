import Foundation

/// What Strassen-Tile and dense products are expected to take on a GPU.
///
/// A product is cut into output blocks of 128 × 256, which multiprocessors take in waves; a block
/// costs its multiply-adds at the rate that the chip sustains and a fixed time to store its result.
/// Encode and decode cost the bytes they read and write. The constants are from an H200
/// (benchmarks/strassen-tile-h200.json), whose times from 0.08 ms on this meets within a tenth.
public struct StrassenTileModel: Sendable {
  /// The GPU.
  public let gpu: GPU

  /// Makes the model of a GPU.
  public init(_ gpu: GPU) {
    self.gpu = gpu
  }

  /// The share of its starting rate that a matrix product sustains: the chip is at its power limit.
  static let sustainedShare = 0.64
  /// The share of the bus's rate that a copy reaches.
  static let copyShare = 0.87
  /// The share of a copy's rate that encode and decode reach.
  static let codingShare = 0.9
  /// Seconds to begin a kernel of a graph.
  static let launch = 2e-6
  /// Seconds that the host takes to queue a kernel: what the smallest products cost.
  static let queueing = 9e-6
  /// Seconds between two output blocks of a multiprocessor.
  static let blockOverhead = 1e-6
  /// How much longer cuBLAS takes where rows do not begin at multiples of 16 bytes.
  static let unalignedProduct = 5.2
  /// How often such a matrix is as good as copied on top, encoded or decoded.
  static let unalignedCoding = 1.5

  private var copyRate: Double { gpu.busBandwidth * StrassenTileModel.copyShare }

  /// Whether rows of so many elements all begin at multiples of 16 bytes.
  private func isAligned(_ columns: Int, _ elementSize: Int) -> Bool {
    columns * elementSize % 16 == 0
  }

  /// Seconds of `count` products [m, k] × [k, n] on elements of so many bytes.
  private func product(m: Int, n: Int, k: Int, count: Int, elementSize: Int) -> Double {
    let perBlock =
      128 * 256 * Double(k)
      / (gpu.matrixMultiplyAdds * gpu.clock * StrassenTileModel.sustainedShare)
      * (elementSize == 4 ? 2 : 1)
    let share = Double(count * ((m + 127) / 128) * ((n + 255) / 256)) / Double(gpu.multiprocessors)
    // Fewer blocks than multiprocessors are split along the contraction, up to eight times.
    let waves = share > 1 ? share.rounded(.up) : max(share, 1 / 8)
    let arithmetic =
      waves * perBlock * (m <= 64 ? 0.5 : 1)
      + share.rounded(.up) * StrassenTileModel.blockOverhead
    let bytes = Double(count * elementSize) * Double(m * k + n * k + m * n)
    return StrassenTileModel.launch + max(arithmetic, bytes / copyRate)
  }

  /// Seconds to encode or decode a matrix [m, columns].
  private func coding(m: Int, columns: Int, rank: Int, elementSize: Int) -> Double {
    let copy = Double(m) * Double(columns * elementSize) / copyRate
    let unaligned = isAligned(columns, elementSize) ? 0 : StrassenTileModel.unalignedCoding * copy
    return StrassenTileModel.launch + copy * (1 + Double(rank) / 16) / StrassenTileModel.codingShare
      + unaligned
  }

  /// Seconds of the dense product [m, k] × [k, n].
  public func dense(m: Int, n: Int, k: Int, elementSize: Int) -> Double {
    let isAligned = isAligned(k, elementSize) && isAligned(n, elementSize)
    let aligned = product(m: m, n: n, k: k, count: 1, elementSize: elementSize)
    return max(
      StrassenTileModel.queueing, aligned * (isAligned ? 1 : StrassenTileModel.unalignedProduct))
  }

  /// Seconds of the whole Strassen-Tile product by the kernels.
  public func strassenTile(
    rows: TileRows, inputs: Int, outputs: Int, rank: Int, elementSize: Int
  ) -> Double {
    let m = 4 * rows.count
    let seconds =
      coding(m: m, columns: inputs, rank: rank, elementSize: elementSize)
      + product(
        m: rows.count, n: (outputs + 3) / 4, k: (inputs + 3) / 4, count: rank,
        elementSize: elementSize)
      + coding(m: m, columns: outputs, rank: rank, elementSize: elementSize)
    return max(3 * StrassenTileModel.queueing, seconds)
  }
}
