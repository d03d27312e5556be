/// Why a kernel cannot be had: one sentence, with what to do about it.
public struct KernelError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The sentence.
  public let description: String

  /// Makes an error.
  public init(_ description: String) {
    self.description = description
  }
}
