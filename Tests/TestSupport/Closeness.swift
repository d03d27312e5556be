import MLX
import Testing

/// How far two arrays may differ, and where the bound comes from.
public struct Tolerance: Sendable, CustomStringConvertible {
  /// The largest difference allowed, as a share of the reference's largest magnitude.
  public var relative: Double
  /// The largest difference allowed whatever the magnitudes.
  public var absolute: Double
  /// Where the numbers come from.
  public var description: String

  /// `steps` roundings in the given type, relative to the largest magnitude.
  public static func roundings(_ steps: Double, of type: DType) -> Tolerance {
    Tolerance(
      relative: steps * type.unitRoundoff, absolute: 0,
      description: "\(steps) roundings of \(type.rawValue)")
  }

  /// A bound relative to the reference's largest magnitude.
  public static func relative(_ bound: Double) -> Tolerance {
    Tolerance(relative: bound, absolute: 0, description: "\(bound) of the largest magnitude")
  }

  /// An absolute bound.
  public static func absolute(_ bound: Double) -> Tolerance {
    Tolerance(relative: 0, absolute: bound, description: "\(bound)")
  }
}

/// Expects two lists of numbers to agree; NaN never does.
public func expectClose(
  _ actual: [Double], _ expected: [Double], _ tolerance: Tolerance,
  sourceLocation: SourceLocation = #_sourceLocation
) {
  guard actual.count == expected.count else {
    Issue.record(
      "expected \(expected.count) elements, got \(actual.count)", sourceLocation: sourceLocation)
    return
  }
  let largest = expected.reduce(0) { max($0, abs($1)) }
  let bound = tolerance.relative * largest + tolerance.absolute
  var worst = (index: -1, difference: 0.0)
  for (index, (a, e)) in zip(actual, expected).enumerated() {
    let difference = abs(a - e)
    // Written so that NaN is always worse.
    if !(difference <= worst.difference) { worst = (index, difference) }
    if difference.isNaN { break }
  }
  if !(worst.difference <= bound) {
    Issue.record(
      """
      element \(worst.index): got \(actual[worst.index]), expected \(expected[worst.index]), \
      difference \(worst.difference) above \(bound) (\(tolerance))
      """, sourceLocation: sourceLocation)
  }
}

/// Expects two arrays to have the same shape and to agree; NaN never does.
public func expectClose(
  _ actual: MLXArray, _ expected: MLXArray, _ tolerance: Tolerance,
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  let (a, e) = (try actual.asArray(Double.self), try expected.asArray(Double.self))
  guard actual.shape == expected.shape else {
    Issue.record(
      "expected shape \(expected.shape), got \(actual.shape)", sourceLocation: sourceLocation)
    return
  }
  expectClose(a, e, tolerance, sourceLocation: sourceLocation)
}

/// Expects the two-times rule of low precision: |actual − reference| is at most twice the largest
/// error of the plain computation in the same type, plus one rounding of the largest magnitude.
public func expectTwoTimes(
  _ actual: MLXArray, plain: MLXArray, reference: MLXArray,
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  let exact = try reference.asArray(Double.self)
  let plainError = zip(try plain.asArray(Double.self), exact).reduce(0) { worst, pair in
    max(worst, abs(pair.0 - pair.1))
  }
  let floor = exact.reduce(0) { max($0, abs($1)) } * actual.dtype.unitRoundoff
  expectClose(
    try actual.asArray(Double.self), exact,
    Tolerance(
      relative: 0, absolute: 2 * plainError + floor,
      description: "twice the plain computation's error \(plainError), plus \(floor)"),
    sourceLocation: sourceLocation)
}

/// ‖actual − expected‖ / ‖expected‖ over all elements.
public func relativeError(_ actual: MLXArray, _ expected: MLXArray) throws -> Double {
  let (a, e) = (try actual.asArray(Double.self), try expected.asArray(Double.self))
  guard a.count == e.count else { return .infinity }
  let difference = zip(a, e).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
  return (difference / e.reduce(0) { $0 + $1 * $1 }).squareRoot()
}
