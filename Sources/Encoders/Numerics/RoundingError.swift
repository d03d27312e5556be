/// The error that bfloat16 adds to an encoded product, measured on random matrices.
///
/// All figures are relative root mean squares: ‖rounded − unrounded‖ / ‖unrounded‖ in the Frobenius
/// norm, where both products start from the same bfloat16 inputs.
public struct RoundingError: Sendable, Hashable {
  /// Encoded operands in bfloat16, everything else in `Double`.
  public var encoded: Double
  /// Encoded operands and accumulated products in bfloat16, as in an unfused product.
  public var encodedAndProducts: Double
  /// The dense product with its result rounded to bfloat16, for comparison.
  public var dense: Double
}

extension Encoder {
  /// Measures ``RoundingError`` on `count` pairs of uniform random matrices of a given size.
  ///
  /// - Parameters:
  ///   - size: The side of the square matrices.
  ///   - count: The number of pairs.
  ///   - seed: The seed of the matrices.
  /// - Complexity: O(count · size³).
  public func roundingError(size: Int = 64, count: Int = 4, seed: UInt64 = 1) -> RoundingError {
    var generator = SeededGenerator(seed: seed)
    var squares = (encoded: 0.0, both: 0.0, dense: 0.0, own: 0.0, exact: 0.0)
    let classical = Encoder.classical(tile: 1)
    for _ in 0..<count {
      func matrix() -> [Double] {
        (0..<size * size).map { _ in bfloat16Rounded(2 * generator.uniform() - 1) }
      }
      let (a, b) = (matrix(), matrix())
      func product(_ encoder: Encoder, _ rounding: Rounding) -> [Double] {
        encoder.multiply(a, b, rows: size, inner: size, columns: size, rounding: rounding)
      }
      let own = product(self, [])
      let exact = product(classical, [])
      squares.own += Self.squaredNorm(own)
      squares.exact += Self.squaredNorm(exact)
      squares.encoded += Self.squaredDistance(product(self, .encoded), own)
      squares.both += Self.squaredDistance(product(self, [.encoded, .products]), own)
      squares.dense += Self.squaredDistance(exact.map(bfloat16Rounded), exact)
    }
    return RoundingError(
      encoded: (squares.encoded / squares.own).squareRoot(),
      encodedAndProducts: (squares.both / squares.own).squareRoot(),
      dense: (squares.dense / squares.exact).squareRoot())
  }

  /// The relative squared error ‖A·B − encoded‖² / ‖A·B‖² measured on random square matrices.
  ///
  /// It converges to ``error`` as the number of entries grows.
  public func sampledError(size: Int = 64, count: Int = 1, seed: UInt64 = 1) -> Double {
    var generator = SeededGenerator(seed: seed)
    let classical = Encoder.classical(tile: 1)
    var (difference, total) = (0.0, 0.0)
    for _ in 0..<count {
      func matrix() -> [Double] { (0..<size * size).map { _ in generator.nearNormal() } }
      let (a, b) = (matrix(), matrix())
      let exact = classical.multiply(a, b, rows: size, inner: size, columns: size)
      let own = multiply(a, b, rows: size, inner: size, columns: size)
      difference += Self.squaredDistance(own, exact)
      total += Self.squaredNorm(exact)
    }
    return difference / total
  }

  /// The classical algorithm: t³ products, error 0, noise gain 1.
  public static func classical(tile: Int) -> Encoder {
    keepingProducts(tile * tile * tile, tile: tile, name: "classical-\(tile)")
  }

  /// The first `rank` of the t³ products of the classical algorithm: error 1 − rank/t³.
  ///
  /// The base line of every approximation. Products with the same inner index go together.
  public static func keepingProducts(_ rank: Int, tile: Int, name: String? = nil) -> Encoder {
    precondition((1...tile * tile * tile).contains(rank))
    let area = tile * tile
    var tables = [[Double]](repeating: Array(repeating: 0, count: rank * area), count: 3)
    for p in 0..<rank {
      let (l, i, j) = (p / area, p / tile % tile, p % tile)
      tables[0][p * area + i * tile + l] = 1
      tables[1][p * area + l * tile + j] = 1
      tables[2][p * area + i * tile + j] = 1
    }
    return Encoder(
      uncheckedName: name ?? "keep-\(tile)-\(rank)", tile: tile, rank: rank,
      activation: tables[0], weight: tables[1], decoder: tables[2],
      provenance: Provenance(source: "\(rank) of the \(tile * area) products"))
  }

  private static func squaredNorm(_ values: [Double]) -> Double {
    values.reduce(0) { $0 + $1 * $1 }
  }

  private static func squaredDistance(_ a: [Double], _ b: [Double]) -> Double {
    var sum = 0.0
    for index in a.indices { sum += (a[index] - b[index]) * (a[index] - b[index]) }
    return sum
  }
}
