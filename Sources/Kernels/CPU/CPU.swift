import CCPUKernels
import Foundation
import MLX
import Synchronization

/// The processor that CPU kernels run on.
public enum CPU {
  /// Vector instructions that kernels are compiled for.
  public enum Level: UInt32, Sendable, CaseIterable, Comparable {
    /// What every processor of the architecture has.
    case portable
    /// AVX2 with fused multiply-add.
    case avx2
    /// AVX-512 (F, VL, BW, DQ).
    case avx512

    /// Orders levels by what they need.
    public static func < (a: Level, b: Level) -> Bool { a.rawValue < b.rawValue }

    var c: TesseraCPULevel { TesseraCPULevel(rawValue: rawValue) }
  }

  /// The best level of this processor.
  public static let level = Level(rawValue: tessera_cpu_level().rawValue) ?? .portable

  /// Whether this processor multiplies pairs of bfloat16 in one instruction (AVX512-BF16).
  public static let multipliesBFloat16 = tessera_cpu_has_pairs(level.c) != 0

  private static let count = Mutex(max(1, min(64, ProcessInfo.processInfo.activeProcessorCount)))

  /// How many threads a kernel uses, 1 to 64; the processors there are to begin with.
  ///
  /// Results do not depend on it.
  public static var threads: Int {
    get { count.withLock { $0 } }
    set { count.withLock { $0 = max(1, min(64, newValue)) } }
  }

  /// A copy of a float32 array by all threads: what a benchmark takes for the memory's rate.
  public static func copy(_ x: MLXArray) -> MLXArray {
    HostKernel("copy") { tessera_copy($0, $1, $2, $3) }(
      TesseraCopy(count: Int64(x.size), threads: Int32(threads)), [x], output: x.shape, scratch: 0)
  }
}
