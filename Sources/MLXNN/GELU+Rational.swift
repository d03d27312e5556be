import MLX

/// The Gaussian error linear unit by a rational function, for the CPU.
///
/// MLX's wheel computes `erf` and `exp` on the CPU one element at a time: on a hidden layer of 1536
/// the activation takes longer than all products of the transformer layer it belongs to. Sums,
/// products and quotients are vectorised, so Φ(x) − ½ ≈ x P(x²) / Q(x²) on |x| ≤ 5.5, constant
/// outside: largest error of x Φ(x) 1.3 · 10⁻⁶ on [−12, 12], in a quarter of the time.
enum RationalGELU {
  /// Where the fit ends: ½ − Φ(−5.5) differs from ½ by 2 · 10⁻⁸.
  static let end = 5.5
  /// P and Q, lowest power first, from `scripts/fit_gelu.py`.
  static let numerator = [
    0.39894225, 0.0337220387, 0.00466869112, 0.000167408422, 6.33462931e-06, 2.28060591e-08,
  ]
  static let denominator = [
    1, 0.251194714, 0.0285696026, 0.00187653254, 7.31501164e-05, 1.19784611e-06,
  ]

  /// The function and its derivative Φ(x) + x φ(x), in float32.
  ///
  /// The gradient is given, so that training keeps x alone and not every step of the polynomials.
  static func function() -> CustomFunction {
    CustomFunction(
      forward: { [$0[0] * distribution($0[0])] },
      backward: { primals, cotangents, _ in
        let x = primals[0]
        let density = exp(square(x) * -0.5) * (1 / (2 * Double.pi).squareRoot())
        return [cotangents[0] * (distribution(x) + x * density)]
      })
  }

  /// Φ(x), the distribution function of the normal distribution.
  private static func distribution(_ x: MLXArray) -> MLXArray {
    let inside = clip(x, min: -end, max: end)
    let s = square(inside)
    return inside * polynomial(numerator, s) / polynomial(denominator, s) + 0.5
  }

  /// By Horner's rule.
  private static func polynomial(_ coefficients: [Double], _ s: MLXArray) -> MLXArray {
    let highest = s * coefficients[coefficients.count - 1] + coefficients[coefficients.count - 2]
    return coefficients.dropLast(2).reversed().reduce(highest) { $0 * s + $1 }
  }
}
