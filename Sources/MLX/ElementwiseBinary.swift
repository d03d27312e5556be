import CMLX

// Shapes broadcast against each other, and types promote, as in NumPy. A number on one side takes
// the type of the array on the other.

/// The sums.
public func add(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_add(&$0, $1[0], $1[1]) }
}

/// The angles of the points (b, a).
public func atan2(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_arctan2(&$0, $1[0], $1[1]) }
}

/// The bitwise conjunction.
public func bitwiseAnd(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_bitwise_and(&$0, $1[0], $1[1]) }
}

/// The bitwise disjunction.
public func bitwiseOr(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_bitwise_or(&$0, $1[0], $1[1]) }
}

/// The bitwise exclusive disjunction.
public func bitwiseXOr(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_bitwise_xor(&$0, $1[0], $1[1]) }
}

/// The quotients, as floating-point numbers.
public func divide(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_divide(&$0, $1[0], $1[1]) }
}

/// The quotients rounded down.
public func floorDivide(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_floor_divide(&$0, $1[0], $1[1]) }
}

/// The elements of a shifted left by b bits.
public func leftShift(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_left_shift(&$0, $1[0], $1[1]) }
}

/// The elements of a shifted right by b bits.
public func rightShift(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_right_shift(&$0, $1[0], $1[1]) }
}

/// log(eᵃ + eᵇ) without overflow.
public func logAddExp(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_logaddexp(&$0, $1[0], $1[1]) }
}

/// Where both are true.
public func logicalAnd(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_logical_and(&$0, $1[0], $1[1]) }
}

/// Where either is true.
public func logicalOr(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_logical_or(&$0, $1[0], $1[1]) }
}

/// The larger elements.
public func maximum(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_maximum(&$0, $1[0], $1[1]) }
}

/// The smaller elements.
public func minimum(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_minimum(&$0, $1[0], $1[1]) }
}

/// The products.
public func multiply(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_multiply(&$0, $1[0], $1[1]) }
}

/// The powers aᵇ.
public func pow(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_power(&$0, $1[0], $1[1]) }
}

/// The remainders, with the sign of b.
public func remainder(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_remainder(&$0, $1[0], $1[1]) }
}

/// The differences.
public func subtract(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_subtract(&$0, $1[0], $1[1]) }
}

/// Where the elements are equal, as `bool`.
public func equal(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_equal(&$0, $1[0], $1[1]) }
}

/// Where the elements differ, as `bool`.
public func notEqual(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_not_equal(&$0, $1[0], $1[1]) }
}

/// Where a is below b, as `bool`.
public func less(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_less(&$0, $1[0], $1[1]) }
}

/// Where a is not above b, as `bool`.
public func lessEqual(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_less_equal(&$0, $1[0], $1[1]) }
}

/// Where a is above b, as `bool`.
public func greater(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_greater(&$0, $1[0], $1[1]) }
}

/// Where a is not below b, as `bool`.
public func greaterEqual(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_greater_equal(&$0, $1[0], $1[1]) }
}

infix operator .& : LogicalConjunctionPrecedence
infix operator .| : LogicalDisjunctionPrecedence

extension MLXArray {
  /// A scalar that does not widen the type of the array it meets: a fraction next to integers is
  /// `float32`, a whole number next to truth values `int32`.
  func scalar(_ value: Double) -> MLXArray {
    let whole = value == value.rounded() && value.magnitude < 0x1p31
    if dtype.isFloatingPoint { return MLXArray(value, dtype: dtype) }
    guard whole else { return MLXArray(value, dtype: .float32) }
    return MLXArray(value, dtype: dtype == .bool ? .int32 : dtype)
  }

  /// The sums.
  public static func + (a: MLXArray, b: MLXArray) -> MLXArray { add(a, b) }

  /// The sums.
  public static func + (a: MLXArray, b: some ScalarValue) -> MLXArray {
    add(a, a.scalar(b.value))
  }

  /// The sums.
  public static func + (a: some ScalarValue, b: MLXArray) -> MLXArray {
    add(b.scalar(a.value), b)
  }

  /// Replaces the left array by: the sums.
  public static func += (a: inout MLXArray, b: MLXArray) { a = a + b }

  /// Replaces the left array by: the sums.
  public static func += (a: inout MLXArray, b: some ScalarValue) { a = a + b }

  /// The differences.
  public static func - (a: MLXArray, b: MLXArray) -> MLXArray { subtract(a, b) }

  /// The differences.
  public static func - (a: MLXArray, b: some ScalarValue) -> MLXArray {
    subtract(a, a.scalar(b.value))
  }

  /// The differences.
  public static func - (a: some ScalarValue, b: MLXArray) -> MLXArray {
    subtract(b.scalar(a.value), b)
  }

  /// Replaces the left array by: the differences.
  public static func -= (a: inout MLXArray, b: MLXArray) { a = a - b }

  /// Replaces the left array by: the differences.
  public static func -= (a: inout MLXArray, b: some ScalarValue) { a = a - b }

  /// The products.
  public static func * (a: MLXArray, b: MLXArray) -> MLXArray { multiply(a, b) }

  /// The products.
  public static func * (a: MLXArray, b: some ScalarValue) -> MLXArray {
    multiply(a, a.scalar(b.value))
  }

  /// The products.
  public static func * (a: some ScalarValue, b: MLXArray) -> MLXArray {
    multiply(b.scalar(a.value), b)
  }

  /// Replaces the left array by: the products.
  public static func *= (a: inout MLXArray, b: MLXArray) { a = a * b }

  /// Replaces the left array by: the products.
  public static func *= (a: inout MLXArray, b: some ScalarValue) { a = a * b }

  /// The quotients, as floating-point numbers.
  public static func / (a: MLXArray, b: MLXArray) -> MLXArray { divide(a, b) }

  /// The quotients, as floating-point numbers.
  public static func / (a: MLXArray, b: some ScalarValue) -> MLXArray {
    divide(a, a.scalar(b.value))
  }

  /// The quotients, as floating-point numbers.
  public static func / (a: some ScalarValue, b: MLXArray) -> MLXArray {
    divide(b.scalar(a.value), b)
  }

  /// Replaces the left array by: the quotients, as floating-point numbers.
  public static func /= (a: inout MLXArray, b: MLXArray) { a = a / b }

  /// Replaces the left array by: the quotients, as floating-point numbers.
  public static func /= (a: inout MLXArray, b: some ScalarValue) { a = a / b }

  /// The remainders, with the sign of the divisor.
  public static func % (a: MLXArray, b: MLXArray) -> MLXArray { remainder(a, b) }

  /// The remainders, with the sign of the divisor.
  public static func % (a: MLXArray, b: some ScalarValue) -> MLXArray {
    remainder(a, a.scalar(b.value))
  }

  /// The remainders, with the sign of the divisor.
  public static func % (a: some ScalarValue, b: MLXArray) -> MLXArray {
    remainder(b.scalar(a.value), b)
  }

  /// Replaces the left array by: the remainders, with the sign of the divisor.
  public static func %= (a: inout MLXArray, b: MLXArray) { a = a % b }

  /// Replaces the left array by: the remainders, with the sign of the divisor.
  public static func %= (a: inout MLXArray, b: some ScalarValue) { a = a % b }

  /// Where the elements are equal, as `bool`.
  public static func .== (a: MLXArray, b: MLXArray) -> MLXArray { equal(a, b) }

  /// Where the elements are equal, as `bool`.
  public static func .== (a: MLXArray, b: some ScalarValue) -> MLXArray {
    equal(a, a.scalar(b.value))
  }

  /// Where the elements differ, as `bool`.
  public static func .!= (a: MLXArray, b: MLXArray) -> MLXArray { notEqual(a, b) }

  /// Where the elements differ, as `bool`.
  public static func .!= (a: MLXArray, b: some ScalarValue) -> MLXArray {
    notEqual(a, a.scalar(b.value))
  }

  /// Where the left is below the right, as `bool`.
  public static func .< (a: MLXArray, b: MLXArray) -> MLXArray { less(a, b) }

  /// Where the left is below the right, as `bool`.
  public static func .< (a: MLXArray, b: some ScalarValue) -> MLXArray {
    less(a, a.scalar(b.value))
  }

  /// Where the left is not above the right, as `bool`.
  public static func .<= (a: MLXArray, b: MLXArray) -> MLXArray { lessEqual(a, b) }

  /// Where the left is not above the right, as `bool`.
  public static func .<= (a: MLXArray, b: some ScalarValue) -> MLXArray {
    lessEqual(a, a.scalar(b.value))
  }

  /// Where the left is above the right, as `bool`.
  public static func .> (a: MLXArray, b: MLXArray) -> MLXArray { greater(a, b) }

  /// Where the left is above the right, as `bool`.
  public static func .> (a: MLXArray, b: some ScalarValue) -> MLXArray {
    greater(a, a.scalar(b.value))
  }

  /// Where the left is not below the right, as `bool`.
  public static func .>= (a: MLXArray, b: MLXArray) -> MLXArray { greaterEqual(a, b) }

  /// Where the left is not below the right, as `bool`.
  public static func .>= (a: MLXArray, b: some ScalarValue) -> MLXArray {
    greaterEqual(a, a.scalar(b.value))
  }

  /// The bitwise conjunction.
  public static func .& (a: MLXArray, b: MLXArray) -> MLXArray { bitwiseAnd(a, b) }

  /// The bitwise conjunction.
  public static func .& (a: MLXArray, b: some ScalarValue) -> MLXArray {
    bitwiseAnd(a, a.scalar(b.value))
  }

  /// The bitwise disjunction.
  public static func .| (a: MLXArray, b: MLXArray) -> MLXArray { bitwiseOr(a, b) }

  /// The bitwise disjunction.
  public static func .| (a: MLXArray, b: some ScalarValue) -> MLXArray {
    bitwiseOr(a, a.scalar(b.value))
  }

  /// The negatives.
  public static prefix func - (a: MLXArray) -> MLXArray { negative(a) }

  /// The negated truth values.
  public static prefix func .! (a: MLXArray) -> MLXArray { logicalNot(a) }
}

prefix operator .!

/// The elements raised to a power.
public func pow(_ a: MLXArray, _ exponent: some ScalarValue) -> MLXArray {
  pow(a, a.scalar(exponent.value))
}

/// The larger of each element and a number.
public func maximum(_ a: MLXArray, _ b: some ScalarValue) -> MLXArray {
  maximum(a, a.scalar(b.value))
}

/// The smaller of each element and a number.
public func minimum(_ a: MLXArray, _ b: some ScalarValue) -> MLXArray {
  minimum(a, a.scalar(b.value))
}

/// A Swift number that can stand beside an array in arithmetic.
public protocol ScalarValue {
  /// The number.
  var value: Double { get }
}

extension Int: ScalarValue {
  /// The number.
  public var value: Double { Double(self) }
}

extension Float: ScalarValue {
  /// The number.
  public var value: Double { Double(self) }
}

extension Double: ScalarValue {
  /// The number.
  public var value: Double { self }
}
