extension Encoder {
  /// Which intermediate values are rounded to bfloat16.
  public struct Rounding: OptionSet, Sendable {
    /// The bits of the set.
    public let rawValue: Int

    /// Creates a set from its bits.
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// The encoded operands Â = U vec(A) and B̂ = V vec(B), as stored for a bf16 matrix product.
    public static let encoded = Rounding(rawValue: 1)
    /// The accumulated products Ĉ before decoding, as an unfused kernel stores them.
    public static let products = Rounding(rawValue: 2)
  }

  /// The product A·B by this algorithm: the definition in loops, the oracle of every fast path.
  ///
  /// Sizes that do not divide by the tile are padded with zeros. Sums are accumulated in `Double`.
  ///
  /// - Parameters:
  ///   - a: A, [rows, inner] row-major.
  ///   - b: B, [inner, columns] row-major.
  ///   - rows: The rows of A and C.
  ///   - inner: The columns of A and rows of B.
  ///   - columns: The columns of B and C.
  ///   - rounding: What is rounded to bfloat16 on the way.
  /// - Returns: The product, [rows, columns] row-major; exact up to ``error`` and rounding.
  /// - Complexity: rows·inner·columns·R/t³ + R·(rows·inner + inner·columns + rows·columns)
  ///   multiply-adds.
  public func multiply(
    _ a: [Double], _ b: [Double], rows: Int, inner: Int, columns: Int, rounding: Rounding = []
  ) -> [Double] {
    precondition(a.count == rows * inner && b.count == inner * columns)
    let (m, k, n) = (tiles(rows), tiles(inner), tiles(columns))
    let roundsEncoded = rounding.contains(.encoded)
    let encodedA = encode(a, rows, inner, by: activation, rounded: roundsEncoded)
    let encodedB = encode(b, inner, columns, by: weight, rounded: roundsEncoded)
    var result = [Double](repeating: 0, count: rows * columns)
    var products = [Double](repeating: 0, count: m * n)
    for p in 0..<rank {
      for i in 0..<m * n { products[i] = 0 }
      for i in 0..<m {
        for l in 0..<k {
          let factor = encodedA[(p * m + i) * k + l]
          for j in 0..<n { products[i * n + j] += factor * encodedB[(p * k + l) * n + j] }
        }
      }
      if rounding.contains(.products) {
        for i in 0..<m * n { products[i] = bfloat16Rounded(products[i]) }
      }
      for row in 0..<rows {
        for column in 0..<columns {
          let coefficient = decoder[p * tileArea + row % tile * tile + column % tile]
          result[row * columns + column] +=
            coefficient * products[row / tile * n + column / tile]
        }
      }
    }
    return result
  }

  private func tiles(_ size: Int) -> Int { (size + tile - 1) / tile }

  /// The planes [R, rows/t, columns/t] of a matrix.
  private func encode(
    _ matrix: [Double], _ rows: Int, _ columns: Int, by table: [Double], rounded: Bool
  ) -> [Double] {
    let (m, n) = (tiles(rows), tiles(columns))
    var planes = [Double](repeating: 0, count: rank * m * n)
    for p in 0..<rank {
      for row in 0..<rows {
        for column in 0..<columns {
          let coefficient = table[p * tileArea + row % tile * tile + column % tile]
          planes[(p * m + row / tile) * n + column / tile] +=
            coefficient * matrix[row * columns + column]
        }
      }
    }
    return rounded ? planes.map(bfloat16Rounded) : planes
  }
}

/// The bfloat16 number nearest to a value, ties to even; NaN stays NaN, overflow gives infinity.
///
/// bfloat16 has the exponent of `Float` and 8 significant bits: unit roundoff 2⁻⁸.
public func bfloat16Rounded(_ value: Double) -> Double {
  let single = Float(value)
  guard single.isFinite else { return Double(single) }
  let bits = single.bitPattern
  let rounded = (bits &+ 0x7FFF &+ (bits >> 16 & 1)) & 0xFFFF_0000
  return Double(Float(bitPattern: rounded))
}
