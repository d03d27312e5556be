import CMLX

// MARK: - One argument

/// The absolute values.
public func abs(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_abs(&$0, $1[0]) }
}

/// The arc cosines.
public func acos(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_arccos(&$0, $1[0]) }
}

/// The inverse hyperbolic cosines.
public func acosh(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_arccosh(&$0, $1[0]) }
}

/// The arc sines.
public func asin(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_arcsin(&$0, $1[0]) }
}

/// The inverse hyperbolic sines.
public func asinh(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_arcsinh(&$0, $1[0]) }
}

/// The arc tangents.
public func atan(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_arctan(&$0, $1[0]) }
}

/// The inverse hyperbolic tangents.
public func atanh(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_arctanh(&$0, $1[0]) }
}

/// The smallest integers not below.
public func ceil(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_ceil(&$0, $1[0]) }
}

/// The cosines.
public func cos(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_cos(&$0, $1[0]) }
}

/// The hyperbolic cosines.
public func cosh(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_cosh(&$0, $1[0]) }
}

/// The error function.
public func erf(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_erf(&$0, $1[0]) }
}

/// The inverse error function.
public func erfInverse(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_erfinv(&$0, $1[0]) }
}

/// The exponentials.
public func exp(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_exp(&$0, $1[0]) }
}

/// The exponentials minus one, exact near zero.
public func expm1(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_expm1(&$0, $1[0]) }
}

/// The largest integers not above.
public func floor(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_floor(&$0, $1[0]) }
}

/// Where the elements are finite, as `bool`.
public func isFinite(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_isfinite(&$0, $1[0]) }
}

/// Where the elements are infinite, as `bool`.
public func isInf(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_isinf(&$0, $1[0]) }
}

/// Where the elements are not numbers, as `bool`.
public func isNaN(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_isnan(&$0, $1[0]) }
}

/// The natural logarithms.
public func log(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_log(&$0, $1[0]) }
}

/// The logarithms to base ten.
public func log10(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_log10(&$0, $1[0]) }
}

/// The logarithms of one plus the elements, exact near zero.
public func log1p(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_log1p(&$0, $1[0]) }
}

/// The logarithms to base two.
public func log2(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_log2(&$0, $1[0]) }
}

/// The negated truth values.
public func logicalNot(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_logical_not(&$0, $1[0]) }
}

/// The negatives.
public func negative(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_negative(&$0, $1[0]) }
}

/// The reciprocals.
public func reciprocal(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_reciprocal(&$0, $1[0]) }
}

/// The reciprocals of the square roots.
public func rsqrt(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_rsqrt(&$0, $1[0]) }
}

/// The logistic function 1 / (1 + e⁻ˣ).
public func sigmoid(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_sigmoid(&$0, $1[0]) }
}

/// The signs: −1, 0 or 1.
public func sign(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_sign(&$0, $1[0]) }
}

/// The sines.
public func sin(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_sin(&$0, $1[0]) }
}

/// The hyperbolic sines.
public func sinh(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_sinh(&$0, $1[0]) }
}

/// The square roots.
public func sqrt(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_sqrt(&$0, $1[0]) }
}

/// The squares.
public func square(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_square(&$0, $1[0]) }
}

/// The same values, through which no gradient flows.
public func stopGradient(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_stop_gradient(&$0, $1[0]) }
}

/// The tangents.
public func tan(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_tan(&$0, $1[0]) }
}

/// The hyperbolic tangents.
public func tanh(_ a: MLXArray) -> MLXArray {
  .running([a]) { cmlx_tanh(&$0, $1[0]) }
}

extension MLXArray {
  /// The absolute values.
  public func abs() -> MLXArray { MLX.abs(self) }

  /// The smallest integers not below.
  public func ceil() -> MLXArray { MLX.ceil(self) }

  /// The cosines.
  public func cos() -> MLXArray { MLX.cos(self) }

  /// The exponentials.
  public func exp() -> MLXArray { MLX.exp(self) }

  /// The largest integers not above.
  public func floor() -> MLXArray { MLX.floor(self) }

  /// The natural logarithms.
  public func log() -> MLXArray { MLX.log(self) }

  /// The logarithms to base ten.
  public func log10() -> MLXArray { MLX.log10(self) }

  /// The logarithms of one plus the elements, exact near zero.
  public func log1p() -> MLXArray { MLX.log1p(self) }

  /// The logarithms to base two.
  public func log2() -> MLXArray { MLX.log2(self) }

  /// The reciprocals.
  public func reciprocal() -> MLXArray { MLX.reciprocal(self) }

  /// The reciprocals of the square roots.
  public func rsqrt() -> MLXArray { MLX.rsqrt(self) }

  /// The sines.
  public func sin() -> MLXArray { MLX.sin(self) }

  /// The square roots.
  public func sqrt() -> MLXArray { MLX.sqrt(self) }

  /// The squares.
  public func square() -> MLXArray { MLX.square(self) }
}
