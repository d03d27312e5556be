import MLX

/// Symmetric positive semi-definite systems of least squares problems.
enum NormalEquations {
  /// The weight of the ridge in `float32`, as a share of each unknown's own diagonal entry.
  ///
  /// Normal equations with a unit diagonal carry rounding of about this size for 10⁴ unknowns, and
  /// real activations fill far fewer directions than there are unknowns.
  static let ridge = 1e-4

  /// X with (N + ridge · diag N) X = B, for N [n, n] and B [n, m]; evaluated.
  ///
  /// The unknowns are first scaled to a unit diagonal, so that a few inputs of large variance do not
  /// drown the others. Where rounding leaves the matrix indefinite, the ridge grows tenfold until
  /// the factorisation exists.
  ///
  /// Cost: n³/3 + m·n² multiply-adds. Throws where N or B is not finite.
  static func solve(
    _ normal: MLXArray, _ right: MLXArray, ridge: Double = NormalEquations.ridge
  ) throws -> MLXArray {
    let n = normal.dim(0)
    let diagonal = MLX.diagonal(normal)
    let floor = maximum(diagonal.sum() * (1e-6 / Double(n)), 1e-30)
    let scale = rsqrt(maximum(diagonal, floor)).reshaped(n, 1)
    let scaled = normal * scale * scale.reshaped(1, n)
    try eval(scaled, right)
    guard try (isFinite(scaled).all() .& isFinite(right).all()).item(Bool.self) else {
      throw StrassenTileError.notFinite("moment")
    }
    var ridge = ridge
    while true {
      let factor = MLXLinalg.cholesky(scaled + MLXArray.eye(n, dtype: normal.dtype) * ridge)
      let solution = substituted(factor, right * scale) * scale
      do {
        if try isFinite(solution).all().item(Bool.self) { return solution }
      } catch let error where ridge > 1 {
        throw error
      } catch {}
      guard ridge <= 1 else { throw StrassenTileError.notFinite("moment") }
      ridge *= 10
    }
  }

  /// X with L Lᵀ X = B, by blocks.
  ///
  /// MLX inverts a triangular matrix to solve with it, n³/3 multiply-adds a time; only the diagonal
  /// blocks are inverted here.
  private static func substituted(_ factor: MLXArray, _ right: MLXArray) -> MLXArray {
    let n = factor.dim(0)
    let blocks = Swift.stride(from: 0, to: n, by: 512).map { $0..<min(n, $0 + 512) }
    let inverses = blocks.map { block in
      MLXLinalg.solveTriangular(
        factor[block, block], MLXArray.eye(block.count, dtype: factor.dtype))
    }
    var forward: [MLXArray] = []
    for (block, inverse) in zip(blocks, inverses) {
      var rest = right[block]
      if block.lowerBound > 0 {
        rest = rest - matmul(factor[block, ..<block.lowerBound], concatenated(forward))
      }
      forward.append(matmul(inverse, rest))
    }
    var solution: [MLXArray] = []
    for (index, block) in blocks.enumerated().reversed() {
      var rest = forward[index]
      if block.upperBound < n {
        rest =
          rest
          - matmul(
            factor[block.upperBound..., block].transposed(), concatenated(solution.reversed()))
      }
      solution.append(matmul(inverses[index].transposed(), rest))
    }
    return concatenated(solution.reversed())
  }
}
