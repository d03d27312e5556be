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

  /// Adds a call to the graph, on the CPU whatever the default device is, and returns its outputs.
  ///
  /// The problem is copied byte for byte. Inputs that are not contiguous are copied first; the
  /// caller sees to their shapes and types.
  public func callAsFunction<Problem: BitwiseCopyable>(
    _ problem: Problem, _ inputs: [MLXArray], outputs shapes: [[Int]], dtype: DType = .float32,
    scratch: Int
  ) -> [MLXArray] {
    if let shape = shapes.first(where: { !$0.allSatisfy { Int32(exactly: $0) != nil } }) {
      let error = MLXError("[\(name)] expected sizes that int32 holds, got an output \(shape).")
      return shapes.map { _ in MLXArray(failure: error) }
    }
    let sizes = shapes.flatMap { $0.map { Int32(clamping: $0) } }
    return MLXArray.running(inputs, count: shapes.count) { out, handles in
      sizes.withUnsafeBufferPointer { sizes in
        var start = sizes.baseAddress
        let descriptions = shapes.map { shape in
          defer { start = start?.advanced(by: shape.count) }
          return CMLXArrayDescription(shape: start, rank: shape.count, type: dtype.c)
        }
        return withUnsafeBytes(of: problem) { bytes in
          cmlx_host_launch(
            &out, name, function, bytes.baseAddress, bytes.count, scratch, handles, handles.count,
            descriptions, descriptions.count)
        }
      }
    }
  }

  /// A call with one output.
  public func callAsFunction<Problem: BitwiseCopyable>(
    _ problem: Problem, _ inputs: [MLXArray], output shape: [Int], dtype: DType = .float32,
    scratch: Int
  ) -> MLXArray {
    self(problem, inputs, outputs: [shape], dtype: dtype, scratch: scratch)[0]
  }
}
