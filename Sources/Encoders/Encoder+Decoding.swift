extension Encoder {
  /// The encoder with the best decoder for its two encoders.
  ///
  /// Least squares without a penalty: W solves ((U Uᵀ) ∘ (V Vᵀ)) W = M, where row p of M is the
  /// matrix product of the tiles u_p and v_p. For independent inputs of equal variance no read-out
  /// of the same R products has a smaller ``error``.
  ///
  /// - Complexity: O(R³ + R² t²).
  public var optimallyDecoded: Encoder {
    var normal = [Double](repeating: 0, count: rank * rank)
    for p in 0..<rank {
      for q in 0...p {
        normal[p * rank + q] =
          Self.dot(activation, p, q, tileArea) * Self.dot(weight, p, q, tileArea)
      }
    }
    var result = self
    for p in 0..<rank {
      let base = p * tileArea
      for i in 0..<tile {
        for j in 0..<tile {
          result.decoder[base + i * tile + j] = (0..<tile).reduce(0) {
            $0 + activation[base + i * tile + $1] * weight[base + $1 * tile + j]
          }
        }
      }
    }
    Self.solve(&normal, &result.decoder, rank: rank, width: tileArea)
    return result
  }

  /// Solves a positive semidefinite system given by its lower triangle, [R, R], in place.
  ///
  /// Cholesky's method; a pivot that is zero up to rounding belongs to a product that depends
  /// linearly on earlier ones and gets the coefficient zero.
  private static func solve(
    _ matrix: inout [Double], _ right: inout [Double], rank: Int, width: Int
  ) {
    var isFree = [Bool](repeating: true, count: rank)
    for j in 0..<rank {
      let diagonal = matrix[j * rank + j]
      var pivot = diagonal
      for k in 0..<j where isFree[k] { pivot -= matrix[j * rank + k] * matrix[j * rank + k] }
      isFree[j] = pivot > 1e-12 * diagonal
      guard isFree[j] else { continue }
      let root = pivot.squareRoot()
      matrix[j * rank + j] = root
      for i in j + 1..<max(rank, j + 1) {
        var sum = matrix[i * rank + j]
        for k in 0..<j where isFree[k] { sum -= matrix[i * rank + k] * matrix[j * rank + k] }
        matrix[i * rank + j] = sum / root
      }
    }
    for a in 0..<width {
      for i in 0..<rank {
        guard isFree[i] else {
          right[i * width + a] = 0
          continue
        }
        var sum = right[i * width + a]
        for k in 0..<i where isFree[k] { sum -= matrix[i * rank + k] * right[k * width + a] }
        right[i * width + a] = sum / matrix[i * rank + i]
      }
      for i in stride(from: rank - 1, through: 0, by: -1) where isFree[i] {
        var sum = right[i * width + a]
        for k in i + 1..<max(rank, i + 1) where isFree[k] {
          sum -= matrix[k * rank + i] * right[k * width + a]
        }
        right[i * width + a] = sum / matrix[i * rank + i]
      }
    }
  }
}
