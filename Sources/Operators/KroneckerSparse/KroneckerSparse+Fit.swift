import MLX
import OrderedCollections

extension KroneckerSparse {
  /// Hierarchical factorisation, and alternating least squares from there.
  ///
  /// The factorisation splits off one factor at a time by the singular value decomposition of each
  /// block: the optimum in the plain norm for two factors. Least squares follow in the norm of the
  /// data where there is one, and in the plain norm for three factors or more.
  public func fit(_ target: FitTarget) throws -> Parameters {
    let target = try target.checked(for: self)
    if let pair { return try fit(target, as: pair) }
    let names = cores.map(\.name)
    let factors = try HierarchicalFactorization(patterns: patterns).factors(
      of: paddedMatrix(target.weight, paddedOutputs, paddedInputs))
    var parameters = Parameters(uniqueKeysWithValues: zip(names, factors))
    if patterns.count > 2 {
      let plain = FitTarget(weight: target.weight)
      parameters = try AlternatingLeastSquares(self, plain).refine(parameters, names: names)
    }
    if target.secondMoment != nil {
      parameters = try AlternatingLeastSquares(self, target).refine(parameters, names: names)
    }
    return parameters
  }

  private var paddedInputs: Int { patterns[0].inputs }
  private var paddedOutputs: Int { patterns[patterns.count - 1].outputs }

  /// The block pair that two factors (m1, R·n0, m0, 1) and (1, n1, m1·R, n0) are, up to the order of
  /// the output, (n1, n0) here, and of the inner index, (R, n0) here.
  private var pair: BlockPair? {
    guard patterns.count == 2, patterns[0].d == 1, patterns[1].a == 1,
      patterns[0].b.isMultiple(of: patterns[1].d)
    else { return nil }
    let (first, second) = (patterns[0], patterns[1])
    let rank = first.b / second.d
    guard rank <= min(first.c, second.b) else { return nil }
    return BlockPair(
      inputs: paddedInputs, outputs: paddedOutputs, m0: first.c, m1: first.a, n0: second.d,
      n1: second.b, rank: rank)
  }

  private func fit(_ target: FitTarget, as pair: BlockPair) throws -> Parameters {
    let (m0, m1, n0, n1, rank) = (pair.m0, pair.m1, pair.n0, pair.n1, pair.rank)
    let weight = paddedMatrix(target.weight, paddedOutputs, paddedInputs)
      .reshaped([n1, n0, m1 * m0]).transposed(1, 0, 2).reshaped([n0 * n1, m1 * m0])
    let moment = target.secondMoment.map { paddedMatrix($0, m1 * m0, m1 * m0) }
    let (core0, core1) = try pair.fit(FitTarget(weight: weight, secondMoment: moment))
    let parameters: Parameters = [
      "factor0": contiguous(
        core0.reshaped([m1, m0, n0, rank]).transposed(0, 3, 2, 1)
          .reshaped([m1, rank * n0, m0, 1])),
      "factor1": contiguous(
        core1.transposed(2, 1, 0).reshaped([1, n1, m1 * rank, n0])),
    ]
    try eval(Array(parameters.values))
    return parameters
  }
}
