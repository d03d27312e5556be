/// A rational number with 64-bit numerator and denominator, in lowest terms.
///
/// Every operation that leaves the range returns nil, so a proof that uses it is a proof.
public struct Rational: Sendable, Hashable, CustomStringConvertible {
  /// The numerator; carries the sign.
  public let numerator: Int64
  /// The denominator, at least 1.
  public let denominator: Int64

  /// Zero.
  public static let zero = Rational(integer: 0)

  /// An integer.
  public init(integer: Int64) {
    numerator = integer
    denominator = 1
  }

  /// The fraction in lowest terms; nil if the denominator is zero or the result is out of range.
  public init?(_ numerator: Int64, over denominator: Int64) {
    guard denominator != 0, numerator != .min, denominator != .min else { return nil }
    let divisor = Self.greatestCommonDivisor(abs(numerator), abs(denominator))
    let sign: Int64 = denominator < 0 ? -1 : 1
    self.numerator = sign * (numerator / divisor)
    self.denominator = abs(denominator) / divisor
  }

  /// Reads "-3" or "1/8"; nil for anything else.
  public init?(_ text: some StringProtocol) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard let first = parts.first, parts.count <= 2, let numerator = Int64(first) else {
      return nil
    }
    guard parts.count == 2 else {
      self.init(numerator, over: 1)
      return
    }
    guard let denominator = Int64(parts[1]) else { return nil }
    self.init(numerator, over: denominator)
  }

  /// The nearest `Double`.
  public var doubleValue: Double { Double(numerator) / Double(denominator) }

  /// "-3" or "1/8".
  public var description: String {
    denominator == 1 ? "\(numerator)" : "\(numerator)/\(denominator)"
  }

  /// The sum, or nil if it is out of range.
  public func adding(_ other: Rational) -> Rational? {
    let (left, overflow1) = numerator.multipliedReportingOverflow(by: other.denominator)
    let (right, overflow2) = other.numerator.multipliedReportingOverflow(by: denominator)
    let (sum, overflow3) = left.addingReportingOverflow(right)
    let (bottom, overflow4) = denominator.multipliedReportingOverflow(by: other.denominator)
    guard !overflow1, !overflow2, !overflow3, !overflow4 else { return nil }
    return Rational(sum, over: bottom)
  }

  /// The product, or nil if it is out of range.
  public func multiplied(by other: Rational) -> Rational? {
    let (top, overflow1) = numerator.multipliedReportingOverflow(by: other.numerator)
    let (bottom, overflow2) = denominator.multipliedReportingOverflow(by: other.denominator)
    guard !overflow1, !overflow2 else { return nil }
    return Rational(top, over: bottom)
  }

  private static func greatestCommonDivisor(_ a: Int64, _ b: Int64) -> Int64 {
    var (a, b) = (a, b)
    while b != 0 { (a, b) = (b, a % b) }
    return max(a, 1)
  }
}
