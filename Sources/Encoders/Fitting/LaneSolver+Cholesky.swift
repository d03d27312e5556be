/// Cholesky's method on the normal matrix, in all lanes at once.
extension LaneSolver {
  /// Replaces the lower triangle of `normal` by its Cholesky factor.
  func factorise() {
    let tiny = Lane(repeating: 1e-14)
    for j in 0..<rank {
      let pivotRow = normal.baseAddress.unsafelyUnwrapped + j * rank
      var pivot = pivotRow[j]
      for k in 0..<j { pivot -= pivotRow[k] * pivotRow[k] }
      // Rounding can leave a rank-deficient system with a negative pivot.
      let inverse = 1 / pivot.replacing(with: tiny, where: pivot .< tiny).squareRoot()
      inverseDiagonal[j] = inverse
      var i = j + 1
      while i + 4 <= rank {
        let row0 = pivotRow + (i - j) * rank
        let (row1, row2, row3) = (row0 + rank, row0 + 2 * rank, row0 + 3 * rank)
        var (s0, s1, s2, s3) = (row0[j], row1[j], row2[j], row3[j])
        for k in 0..<j {
          let factor = pivotRow[k]
          s0 -= row0[k] * factor
          s1 -= row1[k] * factor
          s2 -= row2[k] * factor
          s3 -= row3[k] * factor
        }
        (row0[j], row1[j], row2[j], row3[j]) = (
          s0 * inverse, s1 * inverse, s2 * inverse, s3 * inverse
        )
        i += 4
      }
      while i < rank {
        let row = pivotRow + (i - j) * rank
        var sum = row[j]
        for k in 0..<j { sum -= row[k] * pivotRow[k] }
        row[j] = sum * inverse
        i += 1
      }
    }
  }

  /// Solves the factored system in place for [R, t²] right-hand sides; returns ⟨rhs, solution⟩.
  func solve(_ table: UnsafeMutableBufferPointer<Lane>) -> Lane {
    let x = table.baseAddress.unsafelyUnwrapped
    let factor = normal.baseAddress.unsafelyUnwrapped
    var overlap = Lane.zero
    for i in 0..<rank {
      subtract(rows: 0..<i, weights: factor + i * rank, stride: 1, from: x, row: i)
      for a in 0..<width {
        x[i * width + a] *= inverseDiagonal[i]
        // ⟨b, A⁻¹b⟩ = ‖L⁻¹b‖².
        overlap += x[i * width + a] * x[i * width + a]
      }
    }
    for i in stride(from: rank - 1, through: 0, by: -1) {
      subtract(rows: i + 1..<rank, weights: factor + i, stride: rank, from: x, row: i)
      for a in 0..<width { x[i * width + a] *= inverseDiagonal[i] }
    }
    return overlap
  }

  /// row −= Σ_k weights[k] · rows[k], four columns in registers at a time.
  @inline(__always)
  private func subtract(
    rows: Range<Int>, weights: UnsafeMutablePointer<Lane>, stride: Int,
    from x: UnsafeMutablePointer<Lane>, row: Int
  ) {
    var a = 0
    while a + 4 <= width {
      let target = x + row * width + a
      var (s0, s1, s2, s3) = (target[0], target[1], target[2], target[3])
      for k in rows {
        let weight = weights[k * stride]
        let source = x + k * width + a
        s0 -= weight * source[0]
        s1 -= weight * source[1]
        s2 -= weight * source[2]
        s3 -= weight * source[3]
      }
      (target[0], target[1], target[2], target[3]) = (s0, s1, s2, s3)
      a += 4
    }
    while a < width {
      var sum = x[row * width + a]
      for k in rows { sum -= weights[k * stride] * x[k * width + a] }
      x[row * width + a] = sum
      a += 1
    }
  }
}
