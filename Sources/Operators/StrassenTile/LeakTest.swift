import MLX

/// Whether outputs of a function depend on tokens that they must not see.
///
/// The test perturbs a token and looks at the outputs of earlier ones; a causal function does not
/// move there. It is a measurement at given inputs, not a proof.
public enum LeakTest {
  /// What a perturbation did to outputs.
  public struct Leak: Hashable, Sendable {
    /// The largest change where there must be none.
    public var forbidden: Double
    /// The largest change where it is allowed.
    public var allowed: Double

    /// The forbidden change as a share of the allowed one; 0 if nothing moved anywhere.
    public var share: Double {
      if forbidden.isNaN || allowed.isNaN { return .nan }
      if forbidden == 0 { return 0 }
      return forbidden / allowed
    }
  }

  /// The leak of later tokens into earlier outputs, worst over all tokens of random inputs.
  ///
  /// The function maps X [samples, tokens, width] to Y [samples, tokens, ...]. For each token but the
  /// first, that token is replaced in every sample, and outputs of the tokens before it count as
  /// forbidden. Costs a call for each token.
  public static func leak(
    of function: (MLXArray) throws -> MLXArray, tokens: Int, width: Int, samples: Int = 4,
    key: MLXArray? = nil
  ) throws -> Leak {
    let keys = MLXRandom.split(key: key ?? MLXRandom.key(0), into: 2)
    let base = MLXRandom.normal([samples, tokens, width], key: keys[0])
    let other = MLXRandom.normal([samples, tokens, width], key: keys[1])
    var worst = Leak(forbidden: 0, allowed: 0)
    for token in Swift.stride(from: 1, to: tokens, by: 1) {
      let moved = concatenated(
        [base[0..., ..<token], other[0..., token..<token + 1], base[0..., (token + 1)...]], axis: 1)
      let found = try leak(of: function, from: base, to: moved, before: token)
      worst.forbidden = larger(worst.forbidden, found.forbidden)
      worst.allowed = larger(worst.allowed, found.allowed)
    }
    return worst
  }

  /// The change of outputs when inputs that agree on the tokens before `token` are exchanged.
  ///
  /// Inputs are anything whose second axis counts tokens, token numbers [samples, tokens] included;
  /// outputs are [samples, tokens, ...]. Outputs before `token` count as forbidden.
  public static func leak(
    of function: (MLXArray) throws -> MLXArray, from base: MLXArray, to moved: MLXArray,
    before token: Int
  ) throws -> Leak {
    let change = abs(try function(moved).asType(.float32) - function(base).asType(.float32))
    let tokens = change.dim(1)
    func largest(_ range: Range<Int>) throws -> Double {
      range.isEmpty ? 0 : Double(try change[0..., range].max().item(Float.self))
    }
    if let failure = change.failure { throw failure }
    let first = min(max(0, token), tokens)
    return Leak(forbidden: try largest(0..<first), allowed: try largest(first..<tokens))
  }

  /// The larger of two numbers; NaN is larger than any.
  private static func larger(_ a: Double, _ b: Double) -> Double {
    a.isNaN || b.isNaN ? .nan : Swift.max(a, b)
  }
}
