import CMLX

#if canImport(Glibc)
  import Glibc
#endif

/// Where MLX computes: the CPU or the GPU.
public enum Device: String, Sendable, CaseIterable {
  /// The processor; all linear algebra runs here.
  case cpu
  /// An NVIDIA GPU, with the CUDA engine.
  case gpu

  /// Whether this process can compute there.
  public var isAvailable: Bool { self == .cpu || cmlx_gpu_available() }

  /// How many GPUs this process can see.
  public static var gpuCount: Int { Int(cmlx_gpu_count()) }

  /// The device of operations that name none: the GPU where there is one.
  public static var `default`: Device { cmlx_default_device_is_gpu() ? .gpu : .cpu }

  /// Sets the device of operations that name none.
  ///
  /// It is the whole process's: while a thread changes it, no other may use MLX. Throws if the
  /// process has no such device.
  public static func setDefault(_ device: Device) throws {
    guard device.isAvailable else {
      throw MLXError("[device] expected a GPU that MLX can use, found none; run `tessera doctor`.")
    }
    try check(cmlx_set_default_device(device == .gpu))
  }

  /// Runs the body with another default device.
  ///
  /// It is the whole process's: meanwhile no other thread may use MLX. Throws if the process has no
  /// such device, and what the body throws.
  public static func withDefaultDevice<Result>(
    _ device: Device, _ body: () throws -> Result
  ) throws -> Result {
    let previous = Device.default
    try setDefault(device)
    defer { _ = MLXError(consuming: cmlx_set_default_device(previous == .gpu)) }
    return try body()
  }

  /// What MLX knows about the device: its name, architecture, memory.
  public var information: [String: String] {
    var text: UnsafeMutablePointer<CChar>?
    guard isAvailable, MLXError(consuming: cmlx_device_information(&text, self == .gpu)) == nil,
      let lines = MLXError(consuming: text)?.description
    else { return [:] }
    var result: [String: String] = [:]
    for line in lines.split(separator: "\n") {
      guard let colon = line.firstIndex(of: ":") else { continue }
      let value = line[line.index(after: colon)...].drop { $0 == " " }
      result[String(line[..<colon])] = String(value)
    }
    return result
  }
}

/// A queue of work on a device; work in different streams may run at the same time.
///
/// A stream belongs to the thread that made it.
public struct Stream: Hashable {
  private let index: Int32
  private let gpu: Bool

  private init(_ c: CMLXStream) {
    index = c.index
    gpu = c.gpu
  }

  private var c: CMLXStream { CMLXStream(index: index, gpu: gpu) }

  /// A new stream on a device.
  public init(_ device: Device = .default) throws {
    var out = CMLXStream()
    try check(cmlx_new_stream(&out, device == .gpu))
    self.init(out)
  }

  /// The stream of operations on a device that name none.
  public static func `default`(_ device: Device = .default) throws -> Stream {
    var out = CMLXStream()
    try check(cmlx_default_stream(&out, device == .gpu))
    return Stream(out)
  }

  /// Runs the body with this as the default stream of its device.
  public func asDefault<Result>(_ body: () throws -> Result) throws -> Result {
    let previous = try Stream.default(gpu ? .gpu : .cpu)
    try check(cmlx_set_default_stream(c))
    defer { _ = MLXError(consuming: cmlx_set_default_stream(previous.c)) }
    return try body()
  }

  /// Waits until all work of the stream is done.
  public func synchronize() throws {
    try check(cmlx_synchronize(c))
  }
}

/// MLX's memory on the default device, in bytes.
public enum Memory {
  /// Bytes of this machine's memory, with what it can swap out.
  public static let total = Int(clamping: cmlx_machine_memory())

  /// Bytes in use by arrays.
  public static var active: Int { cmlx_active_memory() }

  /// The most bytes in use since the process began, or since ``resetPeak()``.
  public static var peak: Int { cmlx_peak_memory() }

  /// Bytes kept for reuse.
  public static var cache: Int { cmlx_cache_memory() }

  /// Sets ``peak`` back to zero.
  public static func resetPeak() { cmlx_reset_peak_memory() }

  /// Sets the most bytes kept for reuse and returns what it was.
  @discardableResult
  public static func setCacheLimit(_ bytes: Int) -> Int { cmlx_set_cache_limit(max(0, bytes)) }

  /// Sets the bytes in use above which allocation waits or fails, and returns what it was.
  @discardableResult
  public static func setLimit(_ bytes: Int) -> Int { cmlx_set_memory_limit(max(0, bytes)) }

  /// Keeps up to 1 GiB of what the CPU's arrays free, for arrays up to 256 MiB.
  ///
  /// The C library gives freed arrays back to the system and takes a page fault for every 4 KiB of
  /// the next one, which costs as much as many products. It is the whole process's setting, for
  /// programs to make as they begin.
  public static func keepFreed() { cmlx_keep_freed(1 << 30, 1 << 28) }

  /// Gives memory kept for reuse back to the system.
  public static func clearCache() { cmlx_clear_cache() }
}

/// Facts about the engine that this process runs on.
public enum Engine {
  /// MLX's version.
  public static var version: String { String(cString: cmlx_version()) }

  /// The shared library that a symbol is taken from, `nil` if there is no such symbol.
  public static func origin(ofSymbol symbol: String) -> String? {
    MLXError(consuming: cmlx_symbol_origin(symbol))?.description
  }

  /// The shared library of MLX itself.
  public static var path: String? { origin(ofSymbol: "_ZN3mlx4core7versionEv") }

  /// The shared library whose BLAS MLX's matrix products on the CPU run on.
  public static var blas: String? { origin(ofSymbol: "cblas_sgemm") }

  /// Threads that OpenBLAS uses.
  public static var blasThreads: Int {
    get { Int(cmlx_blas_threads()) }
    set { cmlx_set_blas_threads(Int32(clamping: max(1, newValue))) }
  }

  /// The processor whose kernels OpenBLAS runs, such as `Haswell`.
  public static var blasCore: String { cmlx_blas_core().map { String(cString: $0) } ?? "unknown" }
}
