import CMLX

/// Random numbers from explicit keys: the same key gives the same numbers.
///
/// Without a key the numbers come from a state of the current thread, which ``seed(_:)`` sets.
public enum MLXRandom {
  /// A key from a seed.
  public static func key(_ seed: UInt64) -> MLXArray {
    MLXArray(.calling { cmlx_random_key(&$0, seed) })
  }

  /// Seeds the state of the current thread.
  public static func seed(_ seed: UInt64) throws {
    try check(cmlx_random_seed(seed))
  }

  /// Independent keys from one key.
  public static func split(key: MLXArray, into count: Int) -> [MLXArray] {
    guard count > 0 else { return [] }
    let keys = MLXArray.running([key]) {
      cmlx_random_split(&$0, $1[0], Int32(clamping: count))
    }
    return (0..<count).map { keys[$0] }
  }

  /// Two independent keys from one key.
  public static func split(key: MLXArray) -> (MLXArray, MLXArray) {
    let keys = split(key: key, into: 2)
    return (keys[0], keys[1])
  }

  private static func running(
    _ inputs: [MLXArray], key: MLXArray?,
    _ body: (inout CMLXArray?, [CMLXArray?], CMLXArray?) -> UnsafeMutablePointer<CChar>?
  ) -> MLXArray {
    .running(inputs + [key].compactMap(\.self)) {
      body(&$0, $1, key == nil ? nil : $1[$1.count - 1])
    }
  }

  /// Numbers spread evenly over [low, high).
  public static func uniform(
    low: Double = 0, high: Double = 1, _ shape: [Int], dtype: DType = .float32,
    key: MLXArray? = nil
  ) -> MLXArray {
    let dimensions = int32(shape)
    return running([MLXArray(low, dtype: dtype), MLXArray(high, dtype: dtype)], key: key) {
      cmlx_random_uniform(&$0, $1[0], $1[1], dimensions, dimensions.count, dtype.c, $2)
    }
  }

  /// Numbers from the normal distribution with mean `loc` and standard deviation `scale`.
  public static func normal(
    _ shape: [Int], dtype: DType = .float32, loc: Float = 0, scale: Float = 1,
    key: MLXArray? = nil
  ) -> MLXArray {
    let dimensions = int32(shape)
    return running([], key: key) {
      cmlx_random_normal(&$0, dimensions, dimensions.count, dtype.c, loc, scale, $2)
    }
  }

  /// Integers from [low, high).
  public static func randInt(
    low: Int, high: Int, _ shape: [Int], dtype: DType = .int32, key: MLXArray? = nil
  ) -> MLXArray {
    let dimensions = int32(shape)
    return running([MLXArray([low], []), MLXArray([high], [])], key: key) {
      cmlx_random_integers(&$0, $1[0], $1[1], dimensions, dimensions.count, dtype.c, $2)
    }
  }

  /// `true` with the given probability.
  public static func bernoulli(_ probability: Double, _ shape: [Int], key: MLXArray? = nil)
    -> MLXArray
  {
    let dimensions = int32(shape)
    return running([MLXArray(probability, dtype: .float32)], key: key) {
      cmlx_random_bernoulli(&$0, $1[0], dimensions, dimensions.count, $2)
    }
  }

  /// Positions along an axis drawn with the probabilities softmax(logits), as `uint32`.
  public static func categorical(_ logits: MLXArray, axis: Int = -1, key: MLXArray? = nil)
    -> MLXArray
  {
    running([logits], key: key) {
      cmlx_random_categorical(&$0, $1[0], Int32(clamping: axis), $2)
    }
  }

  /// The numbers 0 ..< count in random order.
  public static func permutation(_ count: Int, key: MLXArray? = nil) -> MLXArray {
    running([], key: key) { cmlx_random_permutation(&$0, Int32(clamping: count), $2) }
  }
}
