import CMLX

#if canImport(Glibc)
  import Glibc
#endif

/// A group of processes that compute together, over MPI (CPUs) or NCCL (GPUs).
public final class DistributedGroup {
  private let handle: CMLXGroup?

  /// Joins the group of all processes; a group of one where no launcher started several.
  ///
  /// Throws where `strict` and the back end (`"mpi"`, `"nccl"`, `"ring"`, or any) is missing.
  public init(strict: Bool = false, backend: String? = nil) throws {
    Self.findMPI()
    var out: CMLXGroup?
    try check(cmlx_distributed_init(&out, strict, backend))
    handle = out
  }

  deinit {
    if let handle { cmlx_group_free(handle) }
  }

  /// Whether a back end, or any, can be used.
  public static func isAvailable(backend: String? = nil) -> Bool {
    findMPI()
    return cmlx_distributed_available(backend)
  }

  /// MLX looks for `libmpi.so`, which only Debian's development package has; where that is missing it
  /// is told the name of the library that the package `openmpi-bin` brings.
  private static func findMPI() {
    guard getenv("MLX_MPI_LIBNAME") == nil, dlopen("libmpi.so", RTLD_LAZY) == nil else { return }
    setenv("MLX_MPI_LIBNAME", "libmpi.so.40", 0)
  }

  /// This process's number, from 0.
  public var rank: Int { Int(cmlx_group_rank(handle)) }

  /// How many processes there are.
  public var size: Int { Int(cmlx_group_size(handle)) }

  /// The sum of the array over all processes, on every process.
  public func allSum(_ array: MLXArray) -> MLXArray {
    .running([array]) { cmlx_all_sum(&$0, $1[0], handle) }
  }

  /// The arrays of all processes one after the other along the first axis, on every process.
  public func allGather(_ array: MLXArray) -> MLXArray {
    .running([array]) { cmlx_all_gather(&$0, $1[0], handle) }
  }

  /// The sum over all processes, each process keeping its part of the first axis.
  public func sumScatter(_ array: MLXArray) -> MLXArray {
    .running([array]) { cmlx_sum_scatter(&$0, $1[0], handle) }
  }
}
