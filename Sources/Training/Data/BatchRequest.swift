/// Which examples of a step a process wants.
public struct BatchRequest: Hashable, Sendable {
  /// The step.
  public let step: Int
  /// The examples of the whole step.
  public let size: Int
  /// The part of them that is wanted.
  public let part: Int
  /// How many equal parts there are.
  public let parts: Int

  /// A request; throws ``DatasetError/badBatch(reason:)`` if the parts would not be equal.
  public init(step: Int, size: Int, part: Int = 0, of parts: Int = 1) throws(DatasetError) {
    guard step >= 0, size > 0, parts > 0, (0..<parts).contains(part) else {
      throw .badBatch(
        reason:
          "expected part 0 to \(parts - 1) of a step's batch of at least one example, got part "
          + "\(part) of a batch of \(size) at step \(step)")
    }
    guard size.isMultiple(of: parts) else {
      throw .badBatch(
        reason: "expected a batch that \(parts) processes share equally, got \(size) examples")
    }
    (self.step, self.size, self.part, self.parts) = (step, size, part, parts)
  }

  /// Where the wanted examples stand in the step's batch.
  public var slots: Range<Int> { part * (size / parts)..<(part + 1) * (size / parts) }

  /// The same request of a later step.
  func after(_ steps: Int) -> BatchRequest {
    BatchRequest(checked: step + steps, size, part, parts)
  }

  private init(checked step: Int, _ size: Int, _ part: Int, _ parts: Int) {
    (self.step, self.size, self.part, self.parts) = (step, size, part, parts)
  }
}

/// The endless order of a set: each epoch is a permutation of its own.
struct Shuffle: Hashable, Sendable {
  let count: Int
  let seed: UInt64

  /// The examples at places of a step's batch.
  func indices(_ request: BatchRequest, slots: some Sequence<Int>) -> [Int] {
    var epochs: [Int: Permutation] = [:]
    return slots.map { slot in
      let (epoch, position) = (request.step * request.size + slot).quotientAndRemainder(
        dividingBy: count)
      let order =
        epochs[epoch] ?? Permutation(count: count, seed: CounterRandom(seed, UInt64(epoch)).value)
      epochs[epoch] = order
      return order[position]
    }
  }
}

/// A source whose work apart from MLX can be done on any thread.
public protocol RawBatchSource: BatchSource, Sendable {
  /// Bytes that a batch is made of.
  associatedtype Raw: Sendable

  /// Reads, shuffles and augments; uses no MLX.
  func raw(_ request: BatchRequest) throws -> Raw

  /// Makes arrays, on the thread that works with them.
  func batch(of raw: Raw) -> Batch
}

extension RawBatchSource {
  /// Part `part` of `parts` equal ones of the step's batch.
  public func batch(step: Int, size: Int, part: Int, of parts: Int) throws -> Batch {
    batch(of: try raw(BatchRequest(step: step, size: size, part: part, of: parts)))
  }

  /// The same source with the next steps' bytes made ready on other threads.
  public func prefetched(depth: Int = 2) -> Prefetched<Self> {
    Prefetched(self, depth: depth)
  }

  func check(_ range: Range<Int>) throws(DatasetError) {
    guard range.lowerBound >= 0, range.upperBound <= count else {
      throw .badBatch(
        reason: "expected examples from 0 to \(count - 1), got \(range.lowerBound) to "
          + "\(range.upperBound - 1)")
    }
  }
}
