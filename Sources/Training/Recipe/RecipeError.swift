/// Everything that is wrong with a recipe, a sentence each.
public struct RecipeError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The sentences, in the order of the recipe's keys.
  public let problems: [String]

  /// The sentences, one a line.
  public var description: String { problems.joined(separator: "\n") }
}
