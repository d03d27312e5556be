import MLX

/// One compilation of a kernel: a file of `DeviceCode/` with its options fixed.
public struct KernelVariant: Hashable, Sendable {
  /// The file, such as `StrassenEncode.cu`.
  public var file: String
  /// What the kernel is for: the beginning of its name.
  public var role: String
  /// `-DTESSERA_<key>=<value>` each.
  public var options: [String: Int]
  /// Bytes of dynamic shared memory of a block.
  public var sharedMemory: Int
  /// Blocks of a cluster, where the code fixes them (`__cluster_dims__`).
  public var cluster: Int?

  /// Describes a compilation.
  public init(
    file: String, role: String, options: [String: Int] = [:], sharedMemory: Int = 0,
    cluster: Int? = nil
  ) {
    self.file = file
    self.role = role
    self.options = options
    self.sharedMemory = sharedMemory
    self.cluster = cluster
  }

  /// The kernel's name in its code: another for each role and set of options.
  public var name: String {
    ([role] + options.sorted { $0.key < $1.key }.map { "\($0.key.lowercased())\($0.value)" })
      .joined(separator: "_")
  }

  /// The compiler's options for an architecture.
  func arguments(architecture: String) -> [String] {
    ["--gpu-architecture=\(architecture)", "--std=c++17", "-DTESSERA_KERNEL=\(name)"]
      + options.sorted { $0.key < $1.key }.map { "-DTESSERA_\($0.key)=\($0.value)" }
  }
}

extension DType {
  /// TESSERA_ELEMENT of `Element.cuh`; `nil` where the device code does not have the type.
  public var kernelElement: Int? {
    switch self {
    case .bfloat16: 0
    case .float16: 1
    case .float32: 2
    default: nil
    }
  }
}
