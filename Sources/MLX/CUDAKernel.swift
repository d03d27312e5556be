import CMLX

/// Machine code of one CUDA kernel, launched as an operation of MLX's graph.
///
/// There is no gradient: give the operation one with ``CustomFunction``.
public final class CUDAKernel: Sendable {
  /// A scalar parameter.
  public enum Scalar: Sendable, Hashable {
    /// `int`, 32 bits; a value that it cannot hold fails the launch.
    case int(Int)
    /// `bool`.
    case bool(Bool)
    /// `float`.
    case float(Float)
  }

  /// An array that the kernel writes.
  public struct Output: Sendable, Hashable {
    /// Its shape.
    public var shape: [Int]
    /// Its element type.
    public var dtype: DType

    /// Describes an output.
    public init(_ shape: [Int], _ dtype: DType) {
      self.shape = shape
      self.dtype = dtype
    }
  }

  /// Blocks of a launch, or threads of a block.
  public struct Extent: Sendable, Hashable {
    /// The three sizes.
    public var x: Int, y: Int, z: Int

    /// Makes an extent.
    public init(_ x: Int, _ y: Int = 1, _ z: Int = 1) {
      (self.x, self.y, self.z) = (x, y, z)
    }
  }

  /// The name of the kernel in its code.
  public let name: String
  /// Read only after `init`: the C side never writes to it, so any thread may launch.
  private nonisolated(unsafe) let handle: CMLXKernel?

  /// Takes a copy of the machine code (a cubin) of the kernel called `name`.
  ///
  /// `sharedMemory` is the dynamic shared memory of a block in bytes, `cluster` the blocks of a cluster where the
  /// code fixes them (`__cluster_dims__`): MLX does not see it in the code, and takes graphs for alike that are
  /// not.
  public init(
    name: String, binary: [UInt8], sharedMemory: Int = 0, cluster: Int? = nil
  ) throws {
    self.name = name
    var out: CMLXKernel?
    let message = binary.withUnsafeBytes {
      cmlx_kernel_make(
        &out, name, $0.baseAddress, $0.count, Int32(clamping: sharedMemory),
        Int32(clamping: cluster ?? 0))
    }
    handle = out
    try check(message)
  }

  deinit {
    if let handle { cmlx_kernel_free(handle) }
  }

  /// Adds a launch to the graph and returns its outputs.
  ///
  /// The kernel's parameters are pointers to the inputs (copied first where they are not
  /// contiguous), pointers to the outputs (not initialised), and the scalars. It runs on the GPU
  /// only; elsewhere evaluating the outputs throws.
  public func callAsFunction(
    _ inputs: [MLXArray], outputs: [Output], scalars: [Scalar] = [], grid: Extent, block: Extent
  ) -> [MLXArray] {
    let numbers = scalars.compactMap(\.c)
    let sizes = [grid.x * block.x, grid.y * block.y, grid.z * block.z] + outputs.flatMap(\.shape)
    guard numbers.count == scalars.count, sizes.allSatisfy({ Int32(exactly: $0) != nil }) else {
      let error = MLXError(
        "[\(name)] expected sizes that int32 holds, got grid \(grid), outputs "
          + "\(outputs.map(\.shape)), scalars \(scalars); use fewer rows at a time.")
      return outputs.map { _ in MLXArray(failure: error) }
    }
    let shapes = outputs.flatMap { $0.shape.map { Int32(clamping: $0) } }
    return shapes.withUnsafeBufferPointer { shapes in
      var start = 0
      let descriptions = outputs.map { output in
        defer { start += output.shape.count }
        return CMLXArrayDescription(
          shape: shapes.baseAddress.map { $0 + start }, rank: output.shape.count,
          type: output.dtype.c)
      }
      return MLXArray.running(inputs, count: outputs.count) {
        cmlx_kernel_launch(
          &$0, handle, $1, $1.count, descriptions, descriptions.count, numbers, numbers.count,
          grid.c, block.c)
      }
    }
  }
}

extension CUDAKernel.Scalar {
  fileprivate var c: CMLXScalar? {
    switch self {
    case .int(let value):
      Int32(exactly: value).map { CMLXScalar(kind: CMLX_SCALAR_INT, integer: $0, number: 0) }
    case .bool(let value):
      CMLXScalar(kind: CMLX_SCALAR_BOOL, integer: value ? 1 : 0, number: 0)
    case .float(let value):
      CMLXScalar(kind: CMLX_SCALAR_FLOAT, integer: 0, number: value)
    }
  }
}

extension CUDAKernel.Extent {
  fileprivate var c: CMLXExtent {
    CMLXExtent(x: Int32(clamping: x), y: Int32(clamping: y), z: Int32(clamping: z))
  }
}
