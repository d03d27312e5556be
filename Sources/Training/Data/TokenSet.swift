import MLX

/// Documents one after the other, cut into windows of T + 1 tokens that overlap by one.
///
/// Every token but the first is a target once an epoch. A document ends with the separator, which
/// the model learns to give and after which it learns to forget.
public struct TokenSet: RawBatchSource {
  /// Tokens of a window that are inputs, T.
  public let length: Int
  /// Tokens are below it.
  public let vocabularySize: Int
  /// Windows.
  public let count: Int
  /// Tokens of all documents, separators included.
  public let tokenCount: Int
  /// Documents.
  public let documentCount: Int

  private let tokens: MappedFile
  private let isWide: Bool
  private let shuffle: Shuffle

  init(_ dataset: Dataset, _ part: DatasetPart, length: Int, seed: UInt64) throws {
    guard case .tokens(let vocabularySize, _) = dataset.header.kind else {
      throw dataset.isNot("tokens")
    }
    let array = try dataset.array(part, "tokens", dtypes: [.uint16, .uint32], rank: 1)
    let ends = try dataset.array(part, "ends", dtypes: [.uint64], rank: 1)
    tokenCount = array.shape[0]
    guard length > 0, length < tokenCount else {
      throw DatasetError.tooSmall(
        part: part.rawValue,
        reason: "expected more than \(length) tokens, the length of a window, got \(tokenCount)")
    }
    self.length = length
    self.vocabularySize = vocabularySize
    count = (tokenCount - 1) / length
    documentCount = ends.shape[0]
    tokens = try dataset.map(part, "tokens")
    isWide = array.dtype == .uint32
    shuffle = Shuffle(count: count, seed: seed)
  }

  /// Inputs and targets, a window after the other.
  public struct Raw: Sendable {
    let rows: Int
    let inputs: [Int32]
    let targets: [Int32]
  }

  /// The windows of a request.
  public func raw(_ request: BatchRequest) throws -> Raw {
    try raw(shuffle.indices(request, slots: request.slots))
  }

  /// Windows in the order of the documents; the last tokens, fewer than a window, are left out.
  public func examples(_ range: Range<Int>) throws -> Batch {
    try check(range)
    return batch(of: try raw(Array(range)))
  }

  /// Inputs [B, T] and targets [B, T] of `int32`.
  public func batch(of raw: Raw) -> Batch {
    Batch(
      inputs: MLXArray(raw.inputs, [raw.rows, length]),
      targets: MLXArray(raw.targets, [raw.rows, length]))
  }

  private func raw(_ windows: [Int]) throws -> Raw {
    var inputs: [Int32] = []
    var targets: [Int32] = []
    inputs.reserveCapacity(windows.count * length)
    targets.reserveCapacity(windows.count * length)
    tokens.withBytes { bytes in
      func append(_ token: (Int) -> Int32) {
        for window in windows {
          let start = window * length
          for position in start..<start + length {
            inputs.append(token(position))
            targets.append(token(position + 1))
          }
        }
      }
      if isWide {
        let words = bytes.assumingMemoryBound(to: UInt32.self)
        append { Int32(truncatingIfNeeded: UInt32(littleEndian: words[$0])) }
      } else {
        let words = bytes.assumingMemoryBound(to: UInt16.self)
        append { Int32(UInt16(littleEndian: words[$0])) }
      }
    }
    // MLX does not check what an embedding reads.
    if let wrong = inputs.first(where: { $0 < 0 || $0 >= vocabularySize })
      ?? targets.first(where: { $0 < 0 || $0 >= vocabularySize })
    {
      throw DatasetError.badBatch(
        reason:
          "expected tokens from 0 to \(vocabularySize - 1), got \(wrong); prepare the set again")
    }
    return Raw(rows: windows.count, inputs: inputs, targets: targets)
  }
}
