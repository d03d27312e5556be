/// What is wrong with a spec, or with a spec for a layer's sizes: one sentence that names the part
/// and says what would be right.
public struct SpecError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The sentence.
  public let description: String

  /// Makes an error with a sentence.
  public init(_ description: String) {
    self.description = description
  }
}
