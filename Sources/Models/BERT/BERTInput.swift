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

  /// Throws if anything would be read from outside the model's tables: MLX does not check that.
  func check(_ configuration: BERTConfiguration) throws(TokenInputError) {
    try TokenInputError.check(
      tokens, vocabularySize: configuration.vocabularySize,
      maximumLength: configuration.maximumLength)
    let (rows, columns) = (tokens.count, tokens.first?.count ?? 0)
    if let tokenTypes {
      try TokenInputError.checkShape(tokenTypes, "token types", rows: rows, columns: columns)
      if let (type, row, position) = TokenInputError.firstOutside(
        tokenTypes, configuration.tokenTypeCount)
      {
        throw .unknownTokenType(
          type, row: row, position: position, count: configuration.tokenTypeCount)
      }
    }
    if let mask {
      try TokenInputError.checkShape(mask, "a mask", rows: rows, columns: columns)
      if let row = mask.firstIndex(where: { !$0.contains(true) }) { throw .hidden(row: row) }
    }
  }

  /// The tokens as `int32` [B, T].
  var tokenArray: MLXArray { matrix(tokens) }
  /// The token types as `int32` [B, T].
  var tokenTypeArray: MLXArray? { tokenTypes.map(matrix) }
  /// The mask as `bool` [B, T].
  var maskArray: MLXArray? { mask.map(matrix) }
}

/// Rows of one length as an array [B, T].
func matrix<Element: HasDType>(_ rows: [[Element]]) -> MLXArray {
  MLXArray(rows.flatMap(\.self), [rows.count, rows.first?.count ?? 0])
}
