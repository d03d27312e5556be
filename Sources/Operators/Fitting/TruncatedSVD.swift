import MLX

/// The best approximation W ≈ U V of rank R in the norm ‖(W − U V) H^½‖, with U [N, R], V [R, K].
///
/// The R leading left singular vectors U of W H^½ solve it, with V = Uᵀ W: the error of the optimum
/// is that of the projection (I − U Uᵀ) W H^½ (Eckart and Young). They are the leading eigenvectors
/// of W H Wᵀ, so H need not be inverted and may be singular. A tall W = Q T is reduced to its square
/// T first. The eigenvectors are computed in float64, because squaring halves the digits.
///
/// The two factors share the norm of each of the R terms evenly. Cost: min(N, K)³.
func truncatedSVD(
  _ w: MLXArray, rank: Int, secondMoment: MLXArray? = nil
) throws -> (u: MLXArray, v: MLXArray) {
  try Device.withDefaultDevice(.cpu) {
    let wide = w.asType(.float64)
    let tall = w.dim(0) > w.dim(1)
    let (basis, core) = tall ? MLXLinalg.qr(wide) : (wide, wide)
    let weighted = secondMoment.map { matmul(core, $0.asType(.float64)) } ?? core
    let gram = matmul(weighted, core.transposed())
    let (_, vectors) = MLXLinalg.eigh((gram + gram.transposed()) * MLXArray(float64: [0.5], []))
    let count = vectors.dim(1)
    // Largest first.
    let leading = vectors[
      0..., stride(from: count - 1, to: count - 1 - min(rank, count), by: -1)]
    let u = tall ? matmul(basis, leading) : leading
    let v = matmul(u.transposed(), wide)
    let norms = sqrt(sum(square(v), axis: 1))
    let scale = sqrt(norms).expandedDimensions(axis: 1)
    let safe = which(scale .> 0, scale, MLXArray.ones(like: scale))
    let result = (
      u: (u * scale.transposed()).asType(.float32), v: (v / safe).asType(.float32)
    )
    try eval(result.u, result.v)
    return result
  }
}
