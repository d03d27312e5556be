import MLX

/// Sets elements to zero with probability p while training, and scales the others by 1 / (1 − p).
///
/// The layer draws from a key of its own, which it takes from the thread's random state when it is
/// made and renews with every call. The key is state: a compiled training step that has the model
/// in `inputs` and in `outputs` draws a new mask with every call.
open class Dropout: Module, UnaryLayer {
  /// The probability of zero.
  public let p: Double
  private let _key = MLXArray(0)

  /// A layer with the probability of zero, at least 0 and below 1.
  public init(p: Double = 0.5, key: MLXArray? = nil) {
    self.p = p
    _key.update(key ?? MLXRandom.randInt(low: 0, high: Int(Int32.max), [2]).asType(.uint32))
  }

  /// The input, some of it zero while training; a failed array if p is not in [0, 1).
  open func callAsFunction(_ x: MLXArray) -> MLXArray {
    guard training, p != 0 else { return x }
    guard p > 0, p < 1 else {
      return MLXArray(
        failure: MLXError(
          "[dropout] expected a probability of at least 0 and below 1, got \(p); set another p."))
    }
    let (next, now) = MLXRandom.split(key: _key)
    _key.update(next)
    let kept = MLXRandom.bernoulli(1 - p, x.shape, key: now)
    return which(kept, x / (1 - p), MLXArray(0, dtype: x.dtype))
  }
}
