import MLX

/// Examples held in memory.
public struct ArraySource: BatchSource {
  private let inputs: MLXArray
  private let targets: MLXArray
  private let seed: UInt64
  /// How many examples there are.
  public let count: Int

  /// Inputs [count, ...] and targets [count, ...].
  ///
  /// Throws where their numbers differ or are zero.
  public init(inputs: MLXArray, targets: MLXArray, seed: UInt64 = 0) throws {
    if let failure = inputs.failure ?? targets.failure { throw failure }
    guard inputs.dim(0) > 0, inputs.dim(0) == targets.dim(0) else {
      throw TrainingError(
        "[data] expected as many inputs as targets, and some, got \(inputs.shape) and "
          + "\(targets.shape).")
    }
    (self.inputs, self.targets, self.seed) = (inputs, targets, seed)
    count = inputs.dim(0)
  }

  /// Each pass over the examples has an order of its own.
  public func batch(step: Int, size: Int, part: Int, of parts: Int) throws -> Batch {
    let length = size / parts
    let start = step * size + part * length
    var order: (pass: Int, permutation: [Int]) = (-1, [])
    let indices = (start..<(start + length)).map { position -> Int32 in
      let pass = position / count
      if pass != order.pass { order = (pass, permutation(pass)) }
      return Int32(order.permutation[position % count])
    }
    let rows = MLXArray(indices, [length])
    return Batch(
      inputs: take(inputs, rows, axis: 0), targets: take(targets, rows, axis: 0))
  }

  /// Examples in their stored order.
  public func examples(_ range: Range<Int>) throws -> Batch {
    Batch(inputs: inputs[range], targets: targets[range])
  }

  private func permutation(_ pass: Int) -> [Int] {
    var generator = SplitMix(state: seed &+ UInt64(pass) &* SplitMix.step)
    return (0..<count).shuffled(using: &generator)
  }
}
