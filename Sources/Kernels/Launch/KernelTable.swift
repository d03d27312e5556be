import MLX
import Synchronization

/// Kernels by what they are made of: to describe a compilation takes the host longer than to launch its kernel.
///
/// A key says all that differs among the compilations that a table is for.
final class KernelTable<Key: Hashable & Sendable>: Sendable {
  private let kernels = Mutex<[Key: CUDAKernel]>([:])

  /// The kernel of a key, by `make` when it is first asked for.
  func kernel(
    _ key: Key, _ make: () throws(KernelError) -> CUDAKernel
  ) throws(KernelError) -> CUDAKernel {
    if let known = kernels.withLock({ $0[key] }) { return known }
    let made = try make()
    kernels.withLock { $0[key] = made }
    return made
  }
}
