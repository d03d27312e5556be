import Foundation
import MLX

#if canImport(Glibc)
  import Glibc
#endif

/// OpenBLAS on processors that are younger than it.
///
/// A processor that OpenBLAS does not know gets the kernels of a Prescott of 2004: 40 GFLOP/s instead of 225 on two
/// cores of a Xeon with AVX-512, by Debian's 0.3.21 (docs/log.md). Its variable `OPENBLAS_CORETYPE` names another
/// processor, and is read when the library is loaded, before `main`.
extension CPU {
  /// What to name this processor to OpenBLAS; `nil` where it runs kernels for vectors of its size.
  public static var missingBLASCore: String? { missingBLASCore(of: Engine.blasCore, level) }

  static func missingBLASCore(of core: String, _ level: Level) -> String? {
    let known: Set = ["haswell", "excavator", "zen", "skylakex", "cooperlake", "sapphirerapids"]
    guard level > .portable, !known.contains(core.lowercased()) else { return nil }
    return level == .avx512 ? "SKYLAKEX" : "HASWELL"
  }

  /// Begins this program anew, with the same arguments, under the name that OpenBLAS misses; returns where it misses
  /// none, or `OPENBLAS_CORETYPE` is set.
  ///
  /// For the first line of a program. Costs as long as loading it.
  public static func restartForBLAS() {
    let variable = "OPENBLAS_CORETYPE"
    guard getenv(variable) == nil, let core = missingBLASCore else { return }
    setenv(variable, core, 1)
    execv("/proc/self/exe", CommandLine.unsafeArgv)
    // It could not be begun: it goes on as it is.
    unsetenv(variable)
  }
}
