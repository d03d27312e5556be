import CMLX

#if canImport(Glibc)
  import Glibc
#endif

/// A Swift closure on arrays as MLX calls it.
///
/// MLX calls it on the thread that runs the transformation, before that call returns.
final class Closure {
  let body: ([MLXArray]) throws -> [MLXArray]

  /// A closure that has to return `least` arrays.
  init(atLeast least: Int = 0, _ body: @escaping ([MLXArray]) throws -> [MLXArray]) {
    self.body = { inputs in
      let results = try body(inputs)
      guard results.count >= least else {
        throw MLXError("[grad] expected a function that returns an array, got none.")
      }
      return results
    }
  }

  /// The closure for C: +1 on this object, given back by `release`.
  func makeC() -> CMLXClosure {
    CMLXClosure(
      payload: Unmanaged.passRetained(self).toOpaque(),
      call: { payload, arguments, count, out in
        guard let payload, let out else { return nil }
        let closure = Unmanaged<Closure>.fromOpaque(payload).takeUnretainedValue()
        do {
          let inputs = (0..<count).compactMap { index in
            arguments?[index].map { MLXArray(owning: cmlx_array_copy($0)) }
          }
          let results = try closure.body(inputs)
          var handles: [CMLXArray?] = []
          for result in results { handles.append(try result.handle()) }
          let copies = handles.map { $0.map { cmlx_array_copy($0) } ?? nil }
          withExtendedLifetime(results) { out.pointee = cmlx_arrays_make(copies, copies.count) }
          return nil
        } catch {
          return strdup("\(error)")
        }
      },
      release: { payload in
        if let payload { Unmanaged<Closure>.fromOpaque(payload).release() }
      })
  }
}

/// A function that MLX keeps: compiled, checkpointed, or with a gradient of its own.
final class KeptFunction {
  private let handle: CMLXFunction?
  private let error: MLXError?

  init(_ make: (inout CMLXFunction?) -> UnsafeMutablePointer<CChar>?) {
    var out: CMLXFunction?
    error = MLXError(consuming: make(&out))
    handle = out
  }

  deinit {
    if let handle { cmlx_function_free(handle) }
  }

  /// The results, or the error.
  func call(_ arguments: [MLXArray]) throws(MLXError) -> [MLXArray] {
    if let error { throw error }
    var handles: [CMLXArray?] = []
    for argument in arguments { handles.append(try argument.handle()) }
    var out = CMLXArrays()
    let message = withExtendedLifetime(arguments) {
      cmlx_call(&out, handle, handles, handles.count)
    }
    try check(message)
    return MLXArray.take(out)
  }

  /// The results, `count` failed arrays if there was an error.
  func callAsFunction(_ arguments: [MLXArray], count: Int) -> [MLXArray] {
    do throws(MLXError) {
      return try call(arguments)
    } catch {
      return (0..<count).map { _ in MLXArray(failure: error) }
    }
  }
}
