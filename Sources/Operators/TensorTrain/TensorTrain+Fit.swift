import MLX
import OrderedCollections

extension TensorTrain {
  /// The truncated singular value decomposition of W rearranged to [n0·m0, n1·m1], the optimum in
  /// the plain norm (Van Loan and Pitsianis 1993), and alternating least squares from there in the
  /// norm of the data.
  public func fit(_ target: FitTarget) throws -> Parameters {
    let target = try target.checked(for: self)
    let (m0, m1, n0, n1) = (input.first, input.second, output.first, output.second)
    let weight = paddedMatrix(target.weight, n0 * n1, m0 * m1)
    let rearranged = weight.reshaped([n0, n1, m0, m1]).transposed(0, 2, 1, 3)
      .reshaped([n0 * m0, n1 * m1])
    let (u, v) = try truncatedSVD(rearranged, rank: rank)
    var cores = Cores(left: u.reshaped([n0, m0, rank]), right: v.reshaped([rank, n1, m1]))
    // The decomposition fits zeros in the padding, where anything would do.
    let isPadded = weight.shape != target.weight.shape
    for moment in [isPadded ? MLXArray.eye(inputs) : nil, target.secondMoment] {
      guard let moment else { continue }
      cores = try TrainRefinement(
        train: self, weight: weight, moment: paddedMatrix(moment, m0 * m1, m0 * m1)
      ).refine(cores)
    }
    let parameters: Parameters = [
      "core0": contiguous(cores.left), "core1": contiguous(cores.right),
    ]
    try eval(Array(parameters.values))
    return parameters
  }
}

/// L [n0, m0, R] and R [R, n1, m1].
private struct Cores {
  var left: MLXArray
  var right: MLXArray
}

/// Alternating least squares of the two cores in the norm ‖(W − Ŵ) H^½‖.
///
/// With one core held, every output a (of L) or b (of R) is a regression on the same features, so
/// there is one system for all, of size m0·R or m1·R. With H [(g, δ), (g', δ')]:
///
///     for L: G[(g, s), (g', s')] = Σ_{δ δ'} (Σ_b R[s, b, δ] R[s', b, δ']) H[(g, δ), (g', δ')]
///     for R: G[(s, δ), (s', δ')] = Σ_{g g'} (Σ_a L[a, g, s] L[a, g', s']) H[(g, δ), (g', δ')]
///
/// Every solve is for the change, with a ridge, as for block pairs. Padded inputs have no moment, so
/// that they do not count; the target of padded outputs is what the cores give there already, which
/// lowers the error of the others (expectation maximisation). A round costs about
/// 2·R²·K² + 4·R·N·K multiply-adds.
private struct TrainRefinement {
  let train: TensorTrain
  /// W [n0·n1, m0·m1].
  let weight: MLXArray
  /// H [m0·m1, m0·m1].
  let moment: MLXArray

  func refine(_ start: Cores) throws -> Cores {
    let (m0, m1, n0, n1) = (
      train.input.first, train.input.second, train.output.first, train.output.second
    )
    let rank = train.rank
    // H as [g·g', δ·δ'].
    let rearranged = contiguous(
      moment.reshaped([m0, m1, m0, m1]).transposed(0, 2, 1, 3).reshaped([m0 * m0, m1 * m1]))
    let goal = matmul(weight[0..<train.outputs], moment)
    try eval(rearranged, goal)

    return try alternating(from: start, error: error(start), rounds: 30) { cores in
      let filled = matmul(dense(cores)[train.outputs...], moment)
      let target = concatenated([goal, filled]).reshaped([n0, n1, m0, m1])
      // Features (g, s) of L.
      let inner = einsum("sbd,tbe->stde", cores.right, cores.right)
        .reshaped([rank * rank, m1 * m1])
      let leftGram = matmul(rearranged, inner.transposed()).reshaped([m0, m0, rank, rank])
        .transposed(0, 2, 1, 3).reshaped([m0 * rank, m0 * rank])
      let leftGoal = einsum("abgd,sbd->ags", target, cores.right).reshaped([n0, m0 * rank])
      cores.left = try solved(cores.left.reshaped([n0, m0 * rank]), leftGram, leftGoal)
        .reshaped([n0, m0, rank])
      // Features (s, δ) of R.
      let outer = einsum("ags,aht->stgh", cores.left, cores.left)
        .reshaped([rank * rank, m0 * m0])
      let rightGram = matmul(outer, rearranged).reshaped([rank, rank, m1, m1])
        .transposed(0, 2, 1, 3).reshaped([rank * m1, rank * m1])
      let rightGoal = einsum("abgd,ags->bsd", target, cores.left).reshaped([n1, rank * m1])
      cores.right = try solved(
        cores.right.transposed(1, 0, 2).reshaped([n1, rank * m1]), rightGram, rightGoal
      ).reshaped([n1, rank, m1]).transposed(1, 0, 2)
      return try error(cores)
    }
  }

  /// The rows p of min p G pᵀ − 2 p · goal, by a proximal step from the present ones.
  private func solved(
    _ rows: MLXArray, _ gram: MLXArray, _ goal: MLXArray
  ) throws -> MLXArray {
    rows + matmul(goal - matmul(rows, gram), try ridgedInverse(gram))
  }

  /// Ŵ [n0·n1, m0·m1].
  private func dense(_ cores: Cores) -> MLXArray {
    einsum("ags,sbd->abgd", cores.left, cores.right).reshaped(weight.shape)
  }

  private func error(_ cores: Cores) throws -> Double {
    let difference = (weight - dense(cores))[0..<train.outputs]
    return try squaredNorm(difference, moment).squareRoot()
  }
}
