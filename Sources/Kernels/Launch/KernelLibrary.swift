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
    try kernels.withLock { kernels in
      if let known = kernels[variant] { return known }
      let made: Result<CUDAKernel, KernelError> = Result { () throws(KernelError) in
        let code = try cache.code(variant, architecture: gpu.architecture, compiler: compiler)
        do {
          return try CUDAKernel(
            name: variant.name, binary: code, sharedMemory: variant.sharedMemory)
        } catch {
          throw KernelError("\(error)")
        }
      }
      kernels[variant] = made
      return made
    }.get()
  }
}
