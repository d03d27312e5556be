import Foundation

/// What Strassen-Tile and dense products are expected to take on a GPU, from first principles.
///
/// A batched product is cut into output blocks of 128 × 256, which multiprocessors take in waves; a
/// block costs its multiply-adds at the rate that the chip sustains and a fixed time to store its
/// result. Encode and decode cost the bytes they read and write. A launch costs a fixed time.
public struct StrassenTileModel: Sendable {
  /// The GPU.
  public let gpu: GPU

  /// Makes the model of a GPU.
  public init(_ gpu: GPU) {
    self.gpu = gpu
  }

  /// The share of its starting rate that a matrix product sustains: the chip is at its power limit
  /// (H200: 690 of 1070 TFLOP/s).
  static let sustainedShare = 0.64
  /// The share of the bus's rate that a copy reaches (H200: 4.25 of 4.92 TB/s).
  static let copyShare = 0.87
  /// The share of a copy's rate that encode and decode reach (H200: 0.82 to 0.87).
  static let codingShare = 0.84
  /// Seconds to begin a kernel of a graph.
  static let launch = 2.5e-6
  /// Seconds between two output blocks of a multiprocessor (H200, cuBLAS and ours: about 1.5 µs).
  static let blockOverhead = 1.5e-6

  /// Seconds of `count` products [m, k] × [k, n] on elements of so many bytes.
  public func product(m: Int, n: Int, k: Int, count: Int = 1, elementSize: Int) -> Double {
    let perBlock =
      128 * 256 * Double(k)
      / (gpu.matrixMultiplyAdds * gpu.clock * StrassenTileModel.sustainedShare)
      * (elementSize == 4 ? 2 : 1)
    let blocks = count * ((m + 127) / 128) * ((n + 255) / 256)
    let waves = (Double(blocks) / Double(gpu.multiprocessors)).rounded(.up)
    let bytes = Double(count * elementSize) * Double(m * k + n * k + m * n)
    let arithmetic = waves * (perBlock + StrassenTileModel.blockOverhead)
    return StrassenTileModel.launch
      + max(arithmetic, bytes / (gpu.busBandwidth * StrassenTileModel.copyShare))
  }

  /// Seconds to encode or decode a matrix [m, columns].
  public func coding(m: Int, columns: Int, rank: Int, elementSize: Int) -> Double {
    let elements = Double(m) * Double(columns) * (1 + Double(rank) / 16)
    return StrassenTileModel.launch
      + elements * Double(elementSize)
      / (gpu.busBandwidth * StrassenTileModel.copyShare * StrassenTileModel.codingShare)
  }

  /// Seconds of the whole Strassen-Tile product by the kernels.
  public func strassenTile(
    rows: TileRows, inputs: Int, outputs: Int, rank: Int, elementSize: Int
  ) -> Double {
    coding(m: 4 * rows.count, columns: inputs, rank: rank, elementSize: elementSize)
      + product(
        m: rows.count, n: (outputs + 3) / 4, k: (inputs + 3) / 4, count: rank,
        elementSize: elementSize)
      + coding(m: 4 * rows.count, columns: outputs, rank: rank, elementSize: elementSize)
  }
}
