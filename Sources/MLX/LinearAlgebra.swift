import CMLX

/// Linear algebra of `float32` or `float64` matrices, always on the CPU: MLX has no other.
///
/// Leading axes are batches.
public enum MLXLinalg {
  /// A = U diag(S) Vᵀ with U [M, M], S [min(M, N)] descending, Vᵀ [N, N].
  public static func svd(_ a: MLXArray) -> (MLXArray, MLXArray, MLXArray) {
    let parts = MLXArray.running([a], count: 3) { cmlx_svd(&$0, $1[0]) }
    return (parts[0], parts[1], parts[2])
  }

  /// A = Q R with orthonormal columns in Q [M, min(M, N)] and upper triangular R.
  public static func qr(_ a: MLXArray) -> (MLXArray, MLXArray) {
    let parts = MLXArray.running([a], count: 2) { cmlx_qr(&$0, $1[0]) }
    return (parts[0], parts[1])
  }

  /// The eigenvalues, ascending, and the eigenvectors, as columns, of a symmetric matrix.
  ///
  /// Only the lower triangle is read.
  public static func eigh(_ a: MLXArray) -> (MLXArray, MLXArray) {
    let parts = MLXArray.running([a], count: 2) { cmlx_eigh(&$0, $1[0]) }
    return (parts[0], parts[1])
  }

  /// The triangular factor of a positive definite matrix: A = L Lᵀ, or Uᵀ U if `upper`.
  ///
  /// A matrix that is not positive definite gives NaN.
  public static func cholesky(_ a: MLXArray, upper: Bool = false) -> MLXArray {
    let factor = MLXArray.running([a]) { cmlx_cholesky(&$0, $1[0], upper) }
    // MLX passes over LAPACK's verdict; where that is no, a diagonal element is not positive.
    let pivots = diagonal(factor, axis1: -2, axis2: -1)
    let definite = (pivots .> 0).all(axis: -1).expandedDimensions(axes: [-2, -1])
    return which(definite, factor, MLXArray(Double.nan, dtype: factor.dtype))
  }

  /// The inverse of a square matrix.
  public static func inv(_ a: MLXArray) -> MLXArray {
    .running([a]) { cmlx_inverse(&$0, $1[0]) }
  }

  /// The Moore–Penrose inverse [N, M] of a matrix [M, N].
  public static func pinv(_ a: MLXArray) -> MLXArray {
    .running([a]) { cmlx_pseudo_inverse(&$0, $1[0]) }
  }

  /// The solution X of A X = B for a square A.
  public static func solve(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
    .running([a, b]) { cmlx_solve(&$0, $1[0], $1[1]) }
  }

  /// The solution X of A X = B for a lower, or upper, triangular A.
  public static func solveTriangular(
    _ a: MLXArray, _ b: MLXArray, upper: Bool = false
  ) -> MLXArray {
    .running([a, b]) { cmlx_solve_triangular(&$0, $1[0], $1[1], upper) }
  }
}
