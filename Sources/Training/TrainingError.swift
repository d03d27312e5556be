/// What stops a training run: one sentence that says what was expected, what came, and what to do.
public struct TrainingError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The sentence.
  public let description: String

  /// Makes an error.
  public init(_ description: String) {
    self.description = description
  }
}
