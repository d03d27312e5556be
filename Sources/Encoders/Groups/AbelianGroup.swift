import RealModule

/// A finite abelian group Z_{n₁} × … × Z_{n_k}, its elements numbered 0 ..< |G| with 0 the identity.
///
/// Its group algebra turns into elementwise products under the Fourier transform; over the reals a
/// character of order at most two costs one product, a pair of conjugate complex ones three.
public struct AbelianGroup: Sendable, Hashable, CustomStringConvertible {
  /// The orders n₁, …, n_k of the cyclic factors.
  public let factors: [Int]
  /// The number of elements |G|.
  public let order: Int

  /// Creates the product of cyclic groups of the given orders.
  ///
  /// - Throws: ``EncoderError/request(_:)`` unless every order is at least 2 and the product at most
  ///   4096.
  public init(_ factors: [Int]) throws(EncoderError) {
    var order = 1
    for factor in factors {
      guard (2...4096).contains(factor), order * factor <= 4096 else {
        throw .request(
          "expected cyclic factors of order at least 2 with a product of at most 4096, "
            + "got \(factors); choose a smaller group")
      }
      order *= factor
    }
    self.factors = factors
    self.order = order
  }

  /// The group Z₂ˢ, whose Fourier transform is the Walsh–Hadamard transform.
  ///
  /// - Throws: ``EncoderError/request(_:)`` unless s is in 0...12.
  public static func walshHadamard(exponent: Int) throws(EncoderError) -> AbelianGroup {
    guard (0...12).contains(exponent) else {
      throw .request("expected an exponent in 0...12, got \(exponent); choose a smaller group")
    }
    return try AbelianGroup(Array(repeating: 2, count: exponent))
  }

  /// "Z2^4", "Z24", "Z5xZ5".
  public var description: String {
    if factors.isEmpty { return "Z1" }
    if factors.count > 2, factors.allSatisfy({ $0 == factors[0] }) {
      return "Z\(factors[0])^\(factors.count)"
    }
    return factors.map { "Z\($0)" }.joined(separator: "x")
  }

  /// The number of elements g with 2g = 0, which is that of real characters.
  public var realCharacterCount: Int {
    factors.reduce(1) { $0 * ($1 % 2 == 0 ? 2 : 1) }
  }

  /// The real products that the group algebra costs: one a real character, three a complex pair.
  ///
  /// Three is the rank of complex multiplication over the reals, so no fewer will do this way.
  public var realRank: Int {
    realCharacterCount + 3 * (order - realCharacterCount) / 2
  }

  /// The coordinates of an element in the cyclic factors.
  func coordinates(_ element: Int) -> [Int] {
    var rest = element
    return factors.map { factor in
      defer { rest /= factor }
      return rest % factor
    }
  }

  /// The element with given coordinates, reduced modulo the factors.
  private func element(_ coordinates: [Int]) -> Int {
    var (element, stride) = (0, 1)
    for (coordinate, factor) in zip(coordinates, factors) {
      element += stride * ((coordinate % factor + factor) % factor)
      stride *= factor
    }
    return element
  }

  /// The sum of two elements.
  public func sum(_ a: Int, _ b: Int) -> Int {
    element(zip(coordinates(a), coordinates(b)).map { $0 + $1 })
  }

  /// The difference of two elements.
  public func difference(_ a: Int, _ b: Int) -> Int {
    element(zip(coordinates(a), coordinates(b)).map { $0 - $1 })
  }

  /// The inverse of an element, which also numbers the conjugate of a character.
  public func inverse(_ a: Int) -> Int { difference(0, a) }

  /// The sums of all pairs of elements, [|G|, |G|] row-major.
  func sumTable() -> [Int] {
    (0..<order * order).map { sum($0 / order, $0 % order) }
  }

  /// The value (cos, sin) of a character at an element; exactly ±1 and 0 for quarter turns.
  func character(_ character: Int, at element: Int) -> (real: Double, imaginary: Double) {
    // The angle as a fraction of a turn over the least common multiple of the factors.
    let period = factors.reduce(1) { $0 / Self.greatestCommonDivisor($0, $1) * $1 }
    var turn = 0
    for ((a, b), factor) in zip(zip(coordinates(character), coordinates(element)), factors) {
      turn = (turn + a * b % factor * (period / factor)) % period
    }
    switch 4 * turn {
    case 0: return (1, 0)
    case period: return (0, 1)
    case 2 * period: return (-1, 0)
    case 3 * period: return (0, -1)
    default:
      let angle = 2 * Double.pi * Double(turn) / Double(period)
      return (.cos(angle), .sin(angle))
    }
  }

  private static func greatestCommonDivisor(_ a: Int, _ b: Int) -> Int {
    b == 0 ? a : greatestCommonDivisor(b, a % b)
  }
}
