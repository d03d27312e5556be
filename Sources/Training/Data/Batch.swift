import MLX

/// Examples that one step learns from.
public struct Batch {
  /// Tokens [B, T] as integers, images [B, H, W, C] or vectors [B, K].
  public let inputs: MLXArray

  /// Next tokens [B, T] or classes [B] as integers, or shares of the classes [B, classes] as
  /// `float32` where examples were mixed.
  public let targets: MLXArray

  /// A batch of examples and what they should give.
  public init(inputs: MLXArray, targets: MLXArray) {
    self.inputs = inputs
    self.targets = targets
  }
}

/// Examples in an order that depends on a seed and nothing else.
///
/// The same step gives the same batch whenever and wherever it is asked for, so that a run resumed
/// at any step goes on as if it had not stopped, and so that processes that read parts of one batch
/// see together what one process would see.
public protocol BatchSource {
  /// How many examples there are.
  var count: Int { get }

  /// Part `part` of `parts` equal ones of the step's batch of `size` examples, shuffled and
  /// augmented.
  func batch(step: Int, size: Int, part: Int, of parts: Int) throws -> Batch

  /// Examples in their stored order, as they are: what validation reads.
  func examples(_ range: Range<Int>) throws -> Batch
}
