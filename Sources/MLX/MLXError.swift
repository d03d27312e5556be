import CMLX

#if canImport(Glibc)
  import Glibc
#endif

/// An error of an MLX operation: one sentence that names the operation, what it expected and what
/// it got.
public struct MLXError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The sentence.
  public let description: String

  /// Makes an error with a sentence of the caller's.
  public init(_ description: String) {
    self.description = description
  }

  /// Takes over a message of the C interface; `nil` where there was no error.
  init?(consuming message: UnsafeMutablePointer<CChar>?) {
    guard let message else { return nil }
    description = String(cString: message)
    free(message)
  }
}

/// The first error raised inside a ``withError(_:)`` block.
final class ErrorScope {
  var first: MLXError?

  /// The innermost scope of the current task.
  ///
  /// MLX work stays on one thread, and a scope is only read and written by the task that opened it.
  @TaskLocal static var current: Reference?

  /// Carries a scope through the task-local value.
  ///
  /// `@unchecked Sendable`: child tasks inherit the reference, but `record` checks the thread
  /// that opened the scope and ignores every other one.
  struct Reference: @unchecked Sendable {
    let scope: ErrorScope
    let thread: pthread_t
  }

  static func record(_ error: MLXError) {
    guard let reference = current, pthread_equal(reference.thread, pthread_self()) != 0 else {
      return
    }
    if reference.scope.first == nil { reference.scope.first = error }
  }
}

/// Runs the body and throws the first error that any MLX operation raised in it.
///
/// Without it an error still isn't lost: the failed array carries it, and evaluating that array
/// throws it. Inside, the error surfaces at the end of the block even if nothing is evaluated.
@discardableResult
public func withError<Result>(_ body: () throws -> Result) throws -> Result {
  let scope = ErrorScope()
  let reference = ErrorScope.Reference(scope: scope, thread: pthread_self())
  let result = try ErrorScope.$current.withValue(reference) { try body() }
  if let error = scope.first { throw error }
  return result
}

/// Throws if a C call reported an error.
func check(_ message: UnsafeMutablePointer<CChar>?) throws(MLXError) {
  if let error = MLXError(consuming: message) {
    ErrorScope.record(error)
    throw error
  }
}
