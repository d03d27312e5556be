import CMLX

/// A C function that runs on the CPU as an operation of MLX's graph.
///
/// There is no gradient: give the operation one with ``CustomFunction``.
public struct HostKernel: Sendable {
  /// What is called with a description of the problem, the inputs (row-major), the outputs (not
  /// initialised) and scratch memory.
  public typealias Function =
    @convention(c) (
      UnsafeRawPointer?, UnsafePointer<UnsafeRawPointer?>?,
      UnsafePointer<UnsafeMutableRawPointer?>?, UnsafeMutableRawPointer?
    ) -> Void

  /// What messages and graphs call it.
  public let name: String
  private let function: Function

  /// Names a function.
  public init(_ name: String, _ function: Function) {
    self.name = name
    self.function = function
  }

  /// Adds a call to the graph, on the CPU whatever the default device is, and returns its output.
  ///
  /// The problem is copied byte for byte. Inputs that are not contiguous are copied first; the
  /// caller sees to their shapes and types.
  public func callAsFunction<Problem: BitwiseCopyable>(
    _ problem: Problem, _ inputs: [MLXArray], output shape: [Int], dtype: DType = .float32,
    scratch: Int
  ) -> MLXArray {
    guard shape.allSatisfy({ Int32(exactly: $0) != nil }) else {
      return MLXArray(
        failure: MLXError("[\(name)] expected sizes that int32 holds, got an output \(shape)."))
    }
    let sizes = shape.map { Int32(clamping: $0) }
    let outputs = MLXArray.running(inputs, count: 1) { out, handles in
      sizes.withUnsafeBufferPointer { sizes in
        var description = CMLXArrayDescription(
          shape: sizes.baseAddress, rank: sizes.count, type: dtype.c)
        return withUnsafeBytes(of: problem) { bytes in
          cmlx_host_launch(
            &out, name, function, bytes.baseAddress, bytes.count, scratch, handles, handles.count,
            &description, 1)
        }
      }
    }
    return outputs[0]
  }
}
