/// What is wrong with the tokens that a model is given.
public enum TokenInputError: Error, Hashable, Sendable, CustomStringConvertible {
  /// There is no sequence, or no token in them.
  case empty
  /// The sequences, types or masks differ in length or number.
  case ragged(what: String, expected: Int, got: Int, unit: String)
  /// There are more tokens than the model has positions.
  case tooLong(length: Int, limit: Int)
  /// A token that the vocabulary does not have.
  case unknownToken(Int32, row: Int, position: Int, vocabularySize: Int)
  /// A token type that the model does not have.
  case unknownTokenType(Int32, row: Int, position: Int, count: Int)
  /// A mask that hides every token of a sequence.
  case hidden(row: Int)

  /// The sentence.
  public var description: String {
    switch self {
    case .empty: "[tokens] expected at least one sequence of at least one token, got none."
    case .ragged(let what, let expected, let got, let unit):
      "[tokens] expected \(what) with \(expected) \(unit), got \(got); pad rows to one length."
    case .tooLong(let length, let limit):
      "[tokens] expected at most \(limit) tokens, got \(length); truncate the text."
    case .unknownToken(let token, let row, let position, let size):
      "[tokens] expected tokens from 0 to \(size - 1), got \(token) in row \(row) at position "
        + "\(position); check that the tokenizer belongs to this model."
    case .unknownTokenType(let type, let row, let position, let count):
      "[tokens] expected token types from 0 to \(count - 1), got \(type) in row \(row) at "
        + "position \(position)."
    case .hidden(let row):
      "[tokens] expected a mask that shows at least one token of each row, got none in row \(row)."
    }
  }

  /// Throws if rows are none, empty, too long, of several lengths, or hold tokens outside the
  /// vocabulary: MLX does not check what it reads from a table.
  static func check(
    _ tokens: [[Int32]], vocabularySize: Int, maximumLength: Int
  ) throws(TokenInputError) {
    guard let length = tokens.first?.count, length > 0 else { throw .empty }
    guard length <= maximumLength else { throw .tooLong(length: length, limit: maximumLength) }
    try checkShape(tokens, "tokens", rows: tokens.count, columns: length)
    if let (token, row, position) = firstOutside(tokens, vocabularySize) {
      throw .unknownToken(token, row: row, position: position, vocabularySize: vocabularySize)
    }
  }

  /// Throws if there are not so many rows of so many columns.
  static func checkShape<Element>(
    _ values: [[Element]], _ what: String, rows: Int, columns: Int
  ) throws(TokenInputError) {
    guard values.count == rows else {
      throw .ragged(what: what, expected: rows, got: values.count, unit: "rows")
    }
    if let odd = values.first(where: { $0.count != columns }) {
      throw .ragged(what: what, expected: columns, got: odd.count, unit: "columns in a row")
    }
  }

  /// The first number that is not from 0 to `count` − 1.
  static func firstOutside(
    _ rows: [[Int32]], _ count: Int
  ) -> (value: Int32, row: Int, position: Int)? {
    for (row, values) in rows.enumerated() {
      if let position = values.firstIndex(where: { $0 < 0 || Int($0) >= count }) {
        return (values[position], row, position)
      }
    }
    return nil
  }
}
