import CCPUKernels
import Foundation
import MLX

/// What products are expected to take on a CPU, from first principles.
///
/// All products run at the rate of the vector units, kernels on whole panels of rows. Weights have to be
/// packed for that, which costs as much as a few rows would; bringing a number into a panel or out of it costs
/// some multiply-adds, and weights that no cache holds are read again for each block of rows. Composed
/// operations move every intermediate through memory several times. The constants are from two cores of
/// Zen 3 (benchmarks/cpu-layers.json, docs/log.md).
public struct CPUModel: Sendable {
  /// The types of X that the kernels take; they compute in float32, so that numbers of two bytes are
  /// rounded once.
  public static let types: [DType] = [.float32, .float16, .bfloat16]
  /// Why another type has no kernels.
  public static let typesSentence = "the CPU's kernels are for float32, float16 and bfloat16"

  /// Vector instructions.
  public let level: CPU.Level
  /// Threads.
  public let threads: Int

  /// The model of this processor.
  public init(level: CPU.Level = CPU.level, threads: Int = CPU.threads) {
    (self.level, self.threads) = (level, threads)
  }

  /// Multiply-adds a second of a dense product.
  private var rate: Double {
    let one =
      switch level {
      case .portable: 7e9
      case .avx2: 36e9
      case .avx512: 60e9
      }
    return one * Double(threads)
  }

  /// Multiply-adds in the time that packing a weight takes, in OpenBLAS, there for many small products
  /// one after the other, and in the kernels.
  private static let packing = (dense: 28.0, composed: 45.0, kernels: 27.0)
  /// Multiply-adds in the time of a number's way into a panel or out of it: of planes, with what encoding
  /// and decoding store between; of a chain.
  private static let moves = (planes: 40.0, chain: 15.0)
  /// The share of the rate that sums in planes reach, a chain's short sums, and those of weights that
  /// are not packed.
  private static let share = (planes: 0.95, chain: 0.9, plain: 0.7)
  /// Rows from which on a chain packs its weights.
  private static let packedRows = 128
  /// Tile rows, in panels, that a packed weight of Strassen-Tile serves.
  private static let panelsOfGroup = 16
  /// Bytes of weights that the caches hold, and bytes a second a thread from further away.
  private static let memory = (cached: 30e6, bandwidth: 9e9)
  /// Bytes of weights a second a thread that a product of a single row reads.
  private static let singleRow = 6e9
  /// Bytes a second of composed operations that read and write, whole tiles or single numbers at a time.
  private static let composedBandwidth = (tiles: 5.5e9, numbers: 1.5e9)
  /// Bytes a second of conversions from and to numbers of two bytes.
  private static let conversion = 2.5e9
  /// For so many seconds after a product OpenBLAS's threads wait awake, and take 0.9 of a processor
  /// from a kernel that uses all of them.
  private static let waiting = (
    seconds: exp2(Double(openblas_thread_timeout())) / 2.45e9, processors: 0.9
  )
  /// Seconds to begin an operation, and to start a thread.
  private static let start = 20e-6

  /// Rows side by side in a panel.
  private var lanes: Int {
    switch level {
    case .portable: 8
    case .avx2: 16
    case .avx512: 32
    }
  }

  /// Seconds of a dense product [M, K] × [K, N].
  public func dense(rows: Int, inputs: Int, outputs: Int, type: DType = .float32) -> Double {
    let weights = Double(inputs) * Double(outputs)
    let work = weights * (Double(rows) + CPUModel.packing.dense)
    return CPUModel.start
      + conversion(Double(rows) * Double(inputs + outputs) + weights, type)
      + max(work / rate, 4 * weights / (CPUModel.singleRow * Double(threads)))
  }

  /// Seconds in which so many numbers of two bytes become float32, or the other way round.
  private func conversion(_ numbers: Double, _ type: DType) -> Double {
    type == .float32 ? 0 : 6 * numbers / CPUModel.conversion
  }

  /// Seconds of the Strassen-Tile kernel on so many tile rows, tiles of side t.
  public func strassenTile(
    tiles: Int, tile: Int, inputTiles: Int, outputTiles: Int, rank: Int, type: DType = .float32
  ) -> Double {
    let panels = (tiles + lanes - 1) / lanes
    let groups = Double((panels + CPUModel.panelsOfGroup - 1) / CPUModel.panelsOfGroup)
    let weights = Double(rank) * Double(inputTiles) * Double(outputTiles)
    let numbers = Double(tile * tile) * Double(inputTiles + outputTiles)
    let work =
      Double(panels * lanes) * (weights / CPUModel.share.planes + Double(rank) * numbers)
      + Double(tiles) * numbers * CPUModel.moves.planes
      + groups * weights * CPUModel.packing.kernels
    return kernel(
      seconds: work / rate, streamed: groups * 4 * weights, weights: weights,
      numbers: Double(tiles) * numbers, type: type)
  }

  /// Seconds of a chain's kernel; `numbers` go in and out of each row.
  public func chain(
    rows: Int, multiplyAdds: Double, numbers: Double, parameters: Double, type: DType = .float32
  ) -> Double {
    let panels = (rows + lanes - 1) / lanes
    // Threads take whole panels.
    let turns = Double((panels + threads - 1) / threads * threads * lanes)
    let isPacked = rows >= CPUModel.packedRows
    let work =
      turns * multiplyAdds / (isPacked ? CPUModel.share.chain : CPUModel.share.plain)
      + Double(rows) * numbers * CPUModel.moves.chain
      + (isPacked ? parameters * CPUModel.packing.kernels : 0)
    return kernel(
      seconds: work / rate, streamed: 4 * parameters * turns / Double(8 * lanes),
      weights: parameters, numbers: Double(rows) * numbers, type: type)
  }

  /// Seconds of a kernel that works so long, reads so many bytes of weights all in all, and takes and
  /// gives so many numbers; those of two bytes, and weights of them, become float32 first.
  private func kernel(
    seconds: Double, streamed: Double, weights: Double, numbers: Double, type: DType
  ) -> Double {
    let conversion = conversion(numbers + weights, type)
    let memory =
      4 * weights > CPUModel.memory.cached
      ? streamed / (CPUModel.memory.bandwidth * Double(threads)) : 0
    let alone = seconds + memory
    guard threads > 1 else { return 2 * CPUModel.start + conversion + alone }
    let share = max(1 - CPUModel.waiting.processors / Double(threads), 0.5)
    return 2 * CPUModel.start + conversion
      + min(alone / share, alone + CPUModel.waiting.seconds * (1 - share))
  }

  /// Seconds of composed operations that move `bytes` beside their multiply-adds with so many `weights`;
  /// `transposes` where they put single numbers into another order.
  public func composed(
    multiplyAdds: Double, weights: Double = 0, bytes: Double, transposes: Bool = false,
    type: DType = .float32
  ) -> Double {
    let bandwidth = CPUModel.composedBandwidth
    let products = max(
      (multiplyAdds + weights * CPUModel.packing.composed) / rate,
      4 * weights / (CPUModel.singleRow * Double(threads)))
    return 4 * CPUModel.start + products + conversion(bytes / 4 + weights, type)
      + bytes / (transposes ? bandwidth.numbers : bandwidth.tiles)
  }
}
