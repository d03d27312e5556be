import MLX

/// Tokens of several sequences, all padded to the same length, for a BERT encoder.
public struct BERTInput: Sendable {
  /// Token numbers [B, T].
  public let tokens: [[Int32]]
  /// Segment numbers [B, T], all 0 where absent.
  public let tokenTypes: [[Int32]]?
  /// Which tokens are no padding [B, T], all where absent.
  public let mask: [[Bool]]?

  /// An input of sequences of one length.
  public init(tokens: [[Int32]], tokenTypes: [[Int32]]? = nil, mask: [[Bool]]? = nil) {
    self.tokens = tokens
    self.tokenTypes = tokenTypes
    self.mask = mask
  }

  /// What is wrong with an input.
  public enum InputError: Error, Hashable, Sendable, CustomStringConvertible {
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
      case .empty: "[BERT] expected at least one sequence of at least one token, got none."
      case .ragged(let what, let expected, let got, let unit):
        "[BERT] expected \(what) with \(expected) \(unit), got \(got); pad rows to one length."
      case .tooLong(let length, let limit):
        "[BERT] expected at most \(limit) tokens, got \(length); truncate the text."
      case .unknownToken(let token, let row, let position, let size):
        "[BERT] expected tokens from 0 to \(size - 1), got \(token) in row \(row) at position "
          + "\(position); check that the tokenizer belongs to this model."
      case .unknownTokenType(let type, let row, let position, let count):
        "[BERT] expected token types from 0 to \(count - 1), got \(type) in row \(row) at "
          + "position \(position)."
      case .hidden(let row):
        "[BERT] expected a mask that shows at least one token of each row, got none in row \(row)."
      }
    }
  }

  /// Throws if anything would be read from outside the model's tables: MLX does not check that.
  func check(_ configuration: BERTConfiguration) throws(InputError) {
    guard let length = tokens.first?.count, length > 0 else { throw .empty }
    guard length <= configuration.maximumLength else {
      throw .tooLong(length: length, limit: configuration.maximumLength)
    }
    func checkShape<Element>(_ rows: [[Element]], _ what: String) throws(InputError) {
      guard rows.count == tokens.count else {
        throw .ragged(what: what, expected: tokens.count, got: rows.count, unit: "rows")
      }
      if let odd = rows.first(where: { $0.count != length }) {
        throw .ragged(what: what, expected: length, got: odd.count, unit: "columns in a row")
      }
    }
    func firstOutside(
      _ rows: [[Int32]], _ count: Int
    ) -> (value: Int32, row: Int, position: Int)? {
      for (row, values) in rows.enumerated() {
        if let position = values.firstIndex(where: { $0 < 0 || Int($0) >= count }) {
          return (values[position], row, position)
        }
      }
      return nil
    }

    try checkShape(tokens, "tokens")
    if let (token, row, position) = firstOutside(tokens, configuration.vocabularySize) {
      throw .unknownToken(
        token, row: row, position: position, vocabularySize: configuration.vocabularySize)
    }
    if let tokenTypes {
      try checkShape(tokenTypes, "token types")
      if let (type, row, position) = firstOutside(tokenTypes, configuration.tokenTypeCount) {
        throw .unknownTokenType(
          type, row: row, position: position, count: configuration.tokenTypeCount)
      }
    }
    if let mask {
      try checkShape(mask, "a mask")
      if let row = mask.firstIndex(where: { !$0.contains(true) }) { throw .hidden(row: row) }
    }
  }

  /// The tokens as `int32` [B, T].
  var tokenArray: MLXArray { array(tokens) }
  /// The token types as `int32` [B, T].
  var tokenTypeArray: MLXArray? { tokenTypes.map { array($0) } }
  /// The mask as `bool` [B, T].
  var maskArray: MLXArray? { mask.map { array($0) } }

  private func array<Element: HasDType>(_ rows: [[Element]]) -> MLXArray {
    MLXArray(rows.flatMap(\.self), [rows.count, rows.first?.count ?? 0])
  }
}
