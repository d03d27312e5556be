import CCPUKernels
import Foundation
import MLX

/// What products are expected to take on a CPU, from first principles.
///
/// A dense product runs at the rate of the vector units. A kernel's multiply-adds run a little slower
/// (panels are loaded again for every few outputs), on whole panels of rows; bringing a number into a
/// panel or out of it costs as much as a dozen multiply-adds. Composed operations run their products
/// at the dense rate and move every intermediate through memory several times.
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

  /// Multiply-adds a second of a dense product: 16, 32 and 4 lanes at about 2.3 GHz.
  private var rate: Double {
    let one =
      switch level {
      case .portable: 7e9
      case .avx2: 36e9
      case .avx512: 70e9
      }
    return one * Double(threads)
  }

  /// Multiply-adds a second of MLX's own loops, on one thread, that take the place of BLAS for numbers
  /// of two bytes.
  private static let shortRate = 2.4e9

  private func rate(of type: DType) -> Double { type == .float32 ? rate : CPUModel.shortRate }

  /// The share of that rate that the kernels reach (Zen 3: 0.8).
  private static let kernelShare = 0.8
  /// Multiply-adds in the time of a number's way into a panel or out of it.
  private static let move = 12.0
  /// Bytes a second of composed operations that read, permute and write, where the caches still help
  /// and where not, and the bytes between (Zen 3).
  private static let composedBandwidth = (cached: 6.5e9, uncached: 2.5e9, limit: 1e8)
  /// For so many seconds after a product OpenBLAS's threads wait awake, and take 0.9 of a processor
  /// from a kernel that uses all of them.
  private static let waiting = (
    seconds: exp2(Double(openblas_thread_timeout())) / 2.45e9, processors: 0.9
  )
  /// Seconds to begin an operation, and to start a thread.
  private static let start = 20e-6

  /// Seconds of a dense product [M, K] × [K, N].
  public func dense(rows: Int, inputs: Int, outputs: Int, type: DType = .float32) -> Double {
    let (m, k, n) = (Double(rows), Double(inputs), Double(outputs))
    return CPUModel.start + max(m * n * k / rate(of: type), 4 * n * k / (4e9 * Double(threads)))
  }

  /// Seconds of a kernel: panels are of 8, 16 or 32 rows or tiles.
  ///
  /// `units` are the rows, or the tile rows, and `multiplyAdds` those of a unit; `numbers` go in and
  /// out for each. Numbers of two bytes, and `parameters` of them, become float32 first.
  public func kernels(
    units: Int, multiplyAdds: Double, numbers: Double, parameters: Double, type: DType = .float32
  ) -> Double {
    let moved = type == .float32 ? 0 : 6 * (Double(units) * numbers + parameters)
    let conversion = moved / CPUModel.composedBandwidth.uncached
    let lanes =
      switch level {
      case .portable: 8
      case .avx2: 16
      case .avx512: 32
      }
    let panels = (units + lanes - 1) / lanes
    // Threads take whole panels.
    let turns = Double((panels + threads - 1) / threads * threads * lanes)
    let work = turns * multiplyAdds / CPUModel.kernelShare + Double(units) * numbers * CPUModel.move
    let alone = work / rate
    let share = max(1 - CPUModel.waiting.processors / Double(threads), 0.5)
    guard threads > 1 else { return 2 * CPUModel.start + conversion + alone }
    return 2 * CPUModel.start + conversion
      + min(alone / share, alone + CPUModel.waiting.seconds * (1 - share))
  }

  /// Seconds of composed operations that move `bytes` beside their multiply-adds.
  public func composed(
    multiplyAdds: Double, bytes: Double, type: DType = .float32
  ) -> Double {
    let bandwidth = CPUModel.composedBandwidth
    return 4 * CPUModel.start + multiplyAdds / rate(of: type)
      + bytes / (bytes < bandwidth.limit ? bandwidth.cached : bandwidth.uncached)
  }
}
