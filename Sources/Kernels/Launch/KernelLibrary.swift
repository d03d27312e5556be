import Dispatch
import MLX
import Synchronization

/// The kernels of this process, compiled and loaded when they are first asked for.
public final class KernelLibrary: Sendable {
  /// The GPU they are compiled for.
  public let gpu: GPU
  /// The compiler.
  public let compiler: NVRTC
  private let cache: KernelCache
  private let kernels = Mutex<[KernelVariant: Result<CUDAKernel, KernelError>]>([:])

  private init(gpu: GPU, compiler: NVRTC, cache: KernelCache) {
    self.gpu = gpu
    self.compiler = compiler
    self.cache = cache
  }

  /// The library for this machine's GPU, or why there is none.
  public static let current: Result<KernelLibrary, KernelError> = Result {
    () throws(KernelError) in
    KernelLibrary(
      gpu: try GPU.current.get(), compiler: try NVRTC.current.get(), cache: .user)
  }

  /// The kernel of a variant: compiled or read from the cache once, then the same object.
  ///
  /// Throws what the compiler says, each time.
  public func kernel(_ variant: KernelVariant) throws(KernelError) -> CUDAKernel {
    if let known = kernels.withLock({ $0[variant] }) { return try known.get() }
    // Compiled outside the lock, so that several threads compile at once.
    let made: Result<CUDAKernel, KernelError> = Result { () throws(KernelError) in
      let code = try cache.code(variant, architecture: gpu.architecture, compiler: compiler)
      do {
        return try CUDAKernel(
          name: variant.name, binary: code, sharedMemory: variant.sharedMemory,
          cluster: variant.cluster)
      } catch {
        throw KernelError("\(error)")
      }
    }
    return try kernels.withLock { kernels in
      // Another thread may have been faster: one object for all.
      let first = kernels[variant] ?? made
      kernels[variant] = first
      return first
    }.get()
  }

  /// Compiles what is not known yet on all processors; what fails is thrown where it is asked for.
  public func prepare(_ variants: some Sequence<KernelVariant>) {
    let missing = kernels.withLock { kernels in
      Set(variants).filter { kernels[$0] == nil }.sorted { $0.name < $1.name }
    }
    DispatchQueue.concurrentPerform(iterations: missing.count) { _ = try? kernel(missing[$0]) }
  }
}
