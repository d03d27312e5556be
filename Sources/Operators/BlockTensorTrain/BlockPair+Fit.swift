import MLX

extension BlockPair {
  /// The cores that approximate W [N, K] best: exactly in the plain norm, by alternating least
  /// squares in the norm of the data.
  func fit(_ target: FitTarget) throws -> (core0: MLXArray, core1: MLXArray) {
    let weight = paddedMatrix(target.weight, n0 * n1, m0 * m1)
    var blocks = try blockwiseSVD(weight)
    if let moment = target.secondMoment {
      let refinement = BlockRefinement(
        pair: self, weight: weight, moment: paddedMatrix(moment, m0 * m1, m0 * m1))
      blocks = try refinement.refine(blocks)
    }
    let core0 = contiguous(
      blocks.right.transposed(1, 3, 0, 2).reshaped([m1, m0, n0 * rank]))
    let core1 = contiguous(
      blocks.left.transposed(0, 1, 3, 2).reshaped([n0, m1 * rank, n1]))
    try eval(core0, core1)
    return (core0, core1)
  }

  /// The truncated singular value decomposition of each block of W [n0·n1, m1·m0].
  private func blockwiseSVD(_ weight: MLXArray) throws -> Blocks {
    let blocks = weight.reshaped([n0, n1, m1, m0]).transposed(0, 2, 1, 3)
    let (u, s, v) = MLXLinalg.svd(blocks)
    let root = sqrt(s[0..., 0..., 0..<rank])
    let result = Blocks(
      left: u[0..., 0..., 0..., 0..<rank] * root.expandedDimensions(axis: 2),
      right: root.expandedDimensions(axis: 3) * v[0..., 0..., 0..<rank])
    try eval(result.left, result.right)
    return result
  }
}

/// The factors of all blocks: block (j, i) = left[j, i] right[j, i].
private struct Blocks {
  /// [n0, m1, n1, R].
  var left: MLXArray
  /// [n0, m1, R, m0].
  var right: MLXArray
}

/// Alternating least squares of the blocks in the norm ‖(W − Ŵ) H^½‖.
///
/// H couples the input pieces i; the output pieces j are independent problems, done in one batch.
///
/// * Right factors, left ones held: all of them at once would be a system of size m1·R·m0. One i
///   at a time, the rest held, it separates: with the left factor C and the residual Δ, the change
///   is (CᵀC)⁻¹ Cᵀ (Δ H)_i (H_ii)⁻¹. It lowers Δ H, which only the pieces after i need, by
///   C · change · H_i.
/// * Left factors, right ones held: with B_j [m1·R, K], whose rows are the right factors at their
///   places, W_j ≈ C_j B_j is an ordinary regression over all i at once: the change is
///   (W_j H B_jᵀ − C_j G) G⁻¹ with G = B_j H B_jᵀ. Then Δ H = W H − C_j (B_j H).
///
/// Every solve is for the change, with a ridge: a proximal step, which lowers the error (or leaves
/// it) however ill-conditioned the system is. A round costs about N·K²/2 + R·K²·(n0 + N/m0)
/// multiply-adds.
private struct BlockRefinement {
  let pair: BlockPair
  /// W [n0·n1, m1·m0].
  let weight: MLXArray
  /// H [m1·m0, m1·m0].
  let moment: MLXArray

  /// The most numbers of an intermediate array of the left solve.
  private let chunk = 1 << 25

  func refine(_ start: Blocks) throws -> Blocks {
    let inverses = try ridgedInverse(
      stacked((0..<pair.m1).map { moment[piece($0), piece($0)] }))
    let target = matmul(weight, moment)
    try eval(target)
    var (_, pull, error) = try improvedLeft(start, target, keep: true)
    return try alternating(from: start, error: error, rounds: 10) { blocks in
      blocks.right = try improvedRight(blocks, pull, inverses)
      (blocks.left, pull, error) = try improvedLeft(blocks, target)
      return error
    }
  }

  private func piece(_ i: Int) -> Range<Int> { i * pair.m0..<(i + 1) * pair.m0 }

  /// The right factors, given Δ H [n0·n1, K] and (H_ii)⁻¹ [m1, m0, m0].
  private func improvedRight(
    _ blocks: Blocks, _ pull: MLXArray, _ inverses: MLXArray
  ) throws -> MLXArray {
    let lefts = blocks.left.transposed(0, 1, 3, 2)
    let project = matmul(try ridgedInverse(matmul(lefts, blocks.left)), lefts)
    var rest = pull
    var changes: [MLXArray] = []
    for i in 0..<pair.m1 {
      let here = rest[0..., 0..<pair.m0].reshaped([pair.n0, pair.n1, pair.m0])
      let change = matmul(matmul(project[0..., i], here), inverses[i])
      let moved = matmul(blocks.left[0..., i], change).reshaped([pair.n0 * pair.n1, pair.m0])
      rest = addMM(
        rest[0..., pair.m0...], moved, moment[piece(i), piece(i).upperBound...], alpha: -1)
      changes.append(change)
    }
    let right = blocks.right + stacked(changes, axis: 1)
    try eval(right)
    return right
  }

  /// The left factors (the same ones if they are to be kept), Δ H with them and the norm of the
  /// error, given W H.
  private func improvedLeft(
    _ blocks: Blocks, _ target: MLXArray, keep: Bool = false
  ) throws -> (left: MLXArray, pull: MLXArray, error: Double) {
    let (m0, m1, n0, n1, rank) = (pair.m0, pair.m1, pair.n0, pair.n1, pair.rank)
    let rows = moment.reshaped([m1, m0, m1 * m0])
    let width = max(1, min(n0, chunk / (m1 * rank * m0 * m1)))
    var lefts: [MLXArray] = []
    var pulls: [MLXArray] = []
    for first in stride(from: 0, to: n0, by: width) {
      let part = first..<min(first + width, n0)
      let count = part.count
      let right = blocks.right[part]
      // B H [count, m1·R, K].
      let weighted = matmul(right.transposed(1, 0, 2, 3).reshaped([m1, count * rank, m0]), rows)
        .reshaped([m1, count, rank, m1 * m0]).transposed(1, 0, 2, 3)
        .reshaped([count, m1 * rank, m1 * m0])
      let goal = target.reshaped([n0, n1, m1 * m0])[part]
      var left = blocks.left[part].transposed(0, 2, 1, 3).reshaped([count, n1, m1 * rank])
      if !keep {
        let gram = timesRight(weighted, right)
        let force = timesRight(goal, right) - matmul(left, gram)
        left = left + matmul(force, try ridgedInverse(gram))
      }
      let pull = goal - matmul(left, weighted)
      lefts.append(left.reshaped([count, n1, m1, rank]).transposed(0, 2, 1, 3))
      pulls.append(pull)
      try eval(pulls + lefts)
    }
    let left = concatenated(lefts)
    let pull = concatenated(pulls).reshaped(target.shape)
    let approximation = matmul(left, blocks.right).transposed(0, 2, 1, 3).reshaped(weight.shape)
    let error = Double(try sum((weight - approximation) * pull).item(Float.self))
    return (left, pull, max(0, error).squareRoot())
  }

  /// A_j B_jᵀ [count, height, m1·R] for matrices A [count, height, K], piece by piece.
  private func timesRight(_ a: MLXArray, _ right: MLXArray) -> MLXArray {
    let (count, height) = (a.dim(0), a.dim(1))
    let pieces = a.reshaped([count, height, pair.m1, pair.m0]).transposed(0, 2, 1, 3)
    return matmul(pieces, right.transposed(0, 1, 3, 2)).transposed(0, 2, 1, 3)
      .reshaped([count, height, pair.m1 * pair.rank])
  }
}
