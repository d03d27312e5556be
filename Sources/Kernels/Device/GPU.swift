import MLX

/// The NVIDIA GPU that MLX computes on, as its driver describes it.
public struct GPU: Hashable, Sendable {
  /// Compute capability, such as 9 and 0 for Hopper.
  public var major: Int, minor: Int
  /// The number of multiprocessors.
  public var multiprocessors: Int
  /// The highest clock of the multiprocessors, in Hz.
  public var clock: Double
  /// Bytes a second between the GPU and its memory, by the clock and width of the bus.
  public var busBandwidth: Double
  /// Bytes of the L2 cache.
  public var cache: Int

  /// Describes a GPU.
  public init(
    major: Int, minor: Int, multiprocessors: Int, clock: Double, busBandwidth: Double, cache: Int
  ) {
    self.major = major
    self.minor = minor
    self.multiprocessors = multiprocessors
    self.clock = clock
    self.busBandwidth = busBandwidth
    self.cache = cache
  }

  /// NVRTC's name of the architecture, with the features of this very generation from Hopper on.
  public var architecture: String { "sm_\(major)\(minor)\(major >= 9 ? "a" : "")" }

  /// Multiply-adds of 16-bit matrices with float32 sums that a multiprocessor starts in a cycle.
  ///
  /// By the vendor's data sheets; TF32 does half as many.
  var matrixMultiplyAdds: Double {
    switch (major, minor) {
    case (10..., _): 4096
    case (9, _): 2048
    case (8, 0): 1024
    default: 512
    }
  }

  /// The GPU of this process, or why there is none.
  public static let current: Result<GPU, KernelError> = Result { () throws(KernelError) in
    guard Device.gpu.isAvailable else {
      throw KernelError(
        "[kernels] expected a GPU that MLX can use, found none; run `tessera doctor`.")
    }
    guard let driver = SharedLibrary(["libcuda.so.1"]) else {
      throw KernelError(
        "[kernels] expected NVIDIA's driver library libcuda.so.1, found none; install the driver.")
    }
    return try GPU(driver)
  }

  private init(_ driver: SharedLibrary) throws(KernelError) {
    typealias Attribute = @convention(c) (UnsafeMutablePointer<Int32>, Int32, Int32) -> Int32
    typealias Get = @convention(c) (UnsafeMutablePointer<Int32>, Int32) -> Int32
    typealias Initialize = @convention(c) (UInt32) -> Int32
    let initialize: Initialize? = driver.function("cuInit")
    let get: Get? = driver.function("cuDeviceGet")
    let attribute: Attribute? = driver.function("cuDeviceGetAttribute")
    var device: Int32 = 0
    guard let initialize, let get, let attribute, initialize(0) == 0, get(&device, 0) == 0 else {
      throw KernelError(
        "[kernels] expected a driver that answers, got none from \(driver.path); run nvidia-smi.")
    }
    // Numbers of CUdevice_attribute in cuda.h.
    func read(_ number: Int32) -> Int {
      var value: Int32 = 0
      return attribute(&value, number, device) == 0 ? Int(value) : 0
    }
    // The bus moves data twice in a cycle of the memory's clock (in kHz).
    self.init(
      major: read(75), minor: read(76), multiprocessors: read(16), clock: Double(read(13)) * 1e3,
      busBandwidth: 2 * Double(read(36)) * 1e3 * Double(read(37)) / 8, cache: read(38))
    guard major > 0, multiprocessors > 0 else {
      throw KernelError(
        "[kernels] expected a driver that describes its GPU, got compute capability "
          + "\(major).\(minor); run nvidia-smi.")
    }
  }
}
