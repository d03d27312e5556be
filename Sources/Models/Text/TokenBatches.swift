/// Token sequences in batches of equal length.
///
/// There is no padding at all, so a sequence's result does not depend on what it is batched with,
/// and no work is spent on tokens that are none. Shorter sequences come first; among equals the
/// order is the given one.
public struct TokenBatches: Sequence, Sendable {
  /// Sequences of one length.
  public struct Batch: Sendable {
    /// The tokens [B, T].
    public let tokens: [[Int32]]
    /// Where each row stood among all sequences [B].
    public let indices: [Int]
  }

  /// The batches.
  public let batches: [Batch]
  /// The number of sequences.
  public let count: Int

  /// Sorts sequences into batches of at most `rows` rows and, one row aside, `tokens` tokens.
  public init(_ sequences: [[Int32]], rows: Int = 64, tokens: Int = 4096) {
    precondition(rows > 0 && tokens > 0, "a batch holds at least one row and one token")
    count = sequences.count
    let byLength = Dictionary(grouping: sequences.indices) { sequences[$0].count }
    batches = byLength.sorted { $0.key < $1.key }.flatMap { length, indices in
      let size = Swift.max(1, Swift.min(rows, tokens / Swift.max(1, length)))
      return stride(from: 0, to: indices.count, by: size).map { start in
        let rows = Array(indices[start..<Swift.min(start + size, indices.count)])
        return Batch(tokens: rows.map { sequences[$0] }, indices: rows)
      }
    }
  }

  /// Goes through the batches.
  public func makeIterator() -> IndexingIterator<[Batch]> { batches.makeIterator() }
}
