import MLX
import Models
import Training

/// Examples that go through a model together, read when they are needed.
public struct ExampleBatch {
  /// How many examples there are.
  public let count: Int
  private let read: () throws -> (inputs: MLXArray, targets: MLXArray?)

  init(count: Int, read: @escaping () throws -> (inputs: MLXArray, targets: MLXArray?)) {
    self.count = count
    self.read = read
  }

  /// What the model is given: tokens [B, T] or images [B, H, W, C].
  func inputs() throws -> MLXArray { try read().inputs }

  /// What the model is given, and the next tokens [B, T] or classes [B] where they are known.
  func callAsFunction() throws -> (inputs: MLXArray, targets: MLXArray?) { try read() }
}

/// Examples in an order of no meaning, so that the first ones are as good as any.
public struct Examples {
  /// How many examples there are.
  public let count: Int
  private let make: (Int) throws -> [ExampleBatch]

  private init(count: Int, make: @escaping (Int) throws -> [ExampleBatch]) {
    (self.count, self.make) = (count, make)
  }

  /// The batches of the first examples, all where there are no more.
  func batches(first limit: Int? = nil) throws -> [ExampleBatch] {
    try make(min(count, limit ?? count))
  }
}

extension Examples {
  /// Sequences in batches of equal length.
  init(sequences: [[Int32]]) {
    self.init(count: sequences.count) { limit in
      TokenBatches(Array(sequences.prefix(limit))).batches.map { batch in
        ExampleBatch(count: batch.tokens.count) { (batch.array, nil) }
      }
    }
  }

  /// The first examples of a source's own shuffled order, a batch after the other.
  ///
  /// Beyond whole batches the last few examples are left out.
  init(_ source: any BatchSource, limit: Int?, batch: Int) {
    let size = min(batch, source.count)
    let count = min(source.count, max(size, limit ?? source.count)) / max(1, size) * size
    self.init(count: count) { limit in
      (0..<(limit + size - 1) / max(1, size)).map { step in
        ExampleBatch(count: size) {
          let batch = try source.batch(step: step, size: size, part: 0, of: 1)
          return (batch.inputs, batch.targets)
        }
      }
    }
  }
}

extension Examples {
  /// What an evaluation takes: all examples in their stored order, the last batch a smaller one, or a
  /// limited number of shuffled ones.
  init(judging source: any BatchSource, limit: Int?, batch: Int) {
    guard limit == nil else {
      self.init(source, limit: limit, batch: batch)
      return
    }
    self.init(count: source.count) { limit in
      stride(from: 0, to: limit, by: max(1, batch)).map { start in
        let range = start..<min(limit, start + batch)
        return ExampleBatch(count: range.count) {
          let batch = try source.examples(range)
          return (batch.inputs, batch.targets)
        }
      }
    }
  }
}

/// What a conversion sees, and what it is judged by.
public struct ConversionData {
  /// What the fits and the distillation see.
  public var calibration: Examples
  /// What they never see.
  public var heldOut: Examples
}
