/// The counter of the energy that the GPU has used, by NVML.
public struct EnergyMeter: Sendable {
  private typealias Read =
    @convention(c) (OpaquePointer?, UnsafeMutablePointer<UInt64>) -> Int32

  /// NVML's handle of the device: never freed.
  private let device: UInt
  private let read: Read

  /// The meter of this process's GPU, `nil` where there is none.
  ///
  /// It is the GPU that the driver counts as the first.
  public init?() {
    typealias Initialize = @convention(c) () -> Int32
    typealias Get = @convention(c) (UInt32, UnsafeMutablePointer<OpaquePointer?>) -> Int32
    guard let library = SharedLibrary(["libnvidia-ml.so.1"]),
      let initialize: Initialize = library.function("nvmlInit_v2"),
      let get: Get = library.function("nvmlDeviceGetHandleByIndex_v2"),
      let read: Read = library.function("nvmlDeviceGetTotalEnergyConsumption")
    else { return nil }
    var device: OpaquePointer?
    guard initialize() == 0, get(0, &device) == 0, let device else { return nil }
    self.device = UInt(bitPattern: device)
    self.read = read
    guard joules != nil else { return nil }
  }

  /// Joules since the driver was loaded; the counter moves every few tens of milliseconds.
  public var joules: Double? {
    var millijoules: UInt64 = 0
    return read(OpaquePointer(bitPattern: device), &millijoules) == 0
      ? Double(millijoules) / 1e3 : nil
  }
}
