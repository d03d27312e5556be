import MLX
import OrderedCollections

/// Block Tensor-Train with two cores: every block of the matrix has rank R, and no block shares
/// numbers with another.
///
/// After Qiu et al. 2024, arXiv 2406.06248. With inputs K = m0·m1 and outputs N = n0·n1 (padded where they do not divide), core 0 is
/// [m1, m0, n0·R] and core 1 is [n0, m1·R, n1]:
///
///     Y[(j, q)] = Σ_{i, ρ} core1[j, (i, ρ), q] · Σ_p core0[i, p, (j, ρ)] · X[(i, p)]
///
/// With weight normalisation each core M enters as γ M / max(1, RMS(M) / σ), σ the deviation of its
/// initial values and γ trained: without it weights and activations can grow without bound in long
/// training (same paper).
public struct BlockTensorTrain: CoreProduct {
  /// K, the length of an input row.
  public let inputs: Int
  /// N, the length of an output row.
  public let outputs: Int
  /// R, the rank of a block.
  public let rank: Int
  /// m0 x m1, whose product is K or a little more.
  public let input: Factors
  /// n0 x n1, whose product is N or a little more.
  public let output: Factors
  /// Whether the cores' sizes are held by weight normalisation.
  public let normalized: Bool

  /// Makes the operator, with balanced factors where none are given.
  ///
  /// Throws where factors do not fit the sizes, where R lies above the min(m0, n1) that is lossless,
  /// and where R·m1·n0, which bounds the rank of the matrix, is below min(K, N).
  public init(
    inputs: Int, outputs: Int, rank: Int, input: Factors? = nil, output: Factors? = nil,
    normalized: Bool = false
  ) throws(SpecError) {
    let asked = OperatorSpec.blockTensorTrain(
      rank: rank, input: input, output: output, normalized: normalized)
    let input = try (input ?? .balanced(inputs)).fitting(inputs, "in")
    var chosen = try (output ?? .balanced(outputs)).fitting(outputs, "out")
    let needed = min(inputs, outputs)
    func bound(_ output: Factors) -> Int {
      let (product, overflow) = (input.second * output.first)
        .multipliedReportingOverflow(by: rank)
      return overflow ? .max : product
    }
    if output == nil, bound(chosen) < needed { chosen = chosen.swapped }
    try asked.checkRank(
      rank, lossless: min(input.first, chosen.second), inputs: inputs, outputs: outputs)
    guard bound(chosen) >= needed else {
      throw SpecError(
        "[spec] expected factors that keep the rank \(needed) of \(outputs)x\(inputs) matrices, "
          + "got \(bound(chosen)) = \(rank)·\(input.second)·\(chosen.first) from '\(asked)'; "
          + "write in=\(Factors.balanced(inputs)),out=\(Factors.balanced(outputs)), say.")
    }
    (self.inputs, self.outputs, self.rank) = (inputs, outputs, rank)
    (self.input, self.output, self.normalized) = (input, chosen, normalized)
  }

  /// `btt:rank=R,in=m0xm1,out=n0xn1`, and `norm=true` where it is.
  public var spec: OperatorSpec {
    .blockTensorTrain(rank: rank, input: input, output: output, normalized: normalized)
  }

  var pair: BlockPair {
    BlockPair(
      inputs: inputs, outputs: outputs, m0: input.first, m1: input.second, n0: output.first,
      n1: output.second, rank: rank)
  }

  /// `core0` [m1, m0, n0·R] and `core1` [n0, m1·R, n1].
  public var cores: [Core] { pair.cores }

  /// R·m1·n0·(m0 + n1) multiply-adds a row; normalisation costs nothing that grows with the rows.
  public var cost: Cost {
    var cost = pair.cost
    if normalized { cost.parameters += cores.count }
    return cost
  }

  /// The shapes of the cores, and of `gamma0` [1] and `gamma1` [1] with normalisation.
  public var shapes: OrderedDictionary<String, [Int]> {
    var shapes = OrderedDictionary(uniqueKeysWithValues: cores.map { ($0.name, $0.shape) })
    for name in gammas { shapes[name] = [1] }
    return shapes
  }

  private var gammas: [String] { normalized ? ["gamma0", "gamma1"] : [] }

  /// The cores as they enter the product.
  func effectiveCores(_ parameters: Parameters) -> [MLXArray] {
    let plain = cores.map { parameter($0.name, of: parameters) }
    guard normalized else { return plain }
    return zip(zip(cores, plain), gammas).map { core, gamma in
      let (core, array) = core
      // The mean of squares overflows float16.
      let excess = Self.excess(array.asType(.float32), core).asType(array.dtype)
      return parameter(gamma, of: parameters) * array / excess
    }
  }

  /// max(1, RMS(M) / σ), as the root of a maximum: a core of zeros, with which training may start,
  /// would have the root's infinite slope for a gradient.
  private static func excess(_ array: MLXArray, _ core: Core) -> MLXArray {
    sqrt(maximum(mean(square(array)) / (core.deviation * core.deviation), 1))
  }

  /// X [..., K] → Y [..., N].
  public func apply(_ x: MLXArray, _ parameters: Parameters) -> MLXArray {
    let cores = effectiveCores(parameters)
    return onRows(x) { pair.product($0, count: $1, cores[0], cores[1]) }
  }

  /// W [N, K], whose block (j, i) is core1[j, i]ᵀ core0[i, ·, j]ᵀ.
  public func dense(_ parameters: Parameters) -> MLXArray? {
    let cores = effectiveCores(parameters)
    return pair.dense(cores[0], cores[1])
  }

  /// The singular value decomposition of each block, cut off at rank R: the optimum in the plain
  /// norm; from there by alternating least squares in the norm of the data.
  ///
  /// With normalisation γ undoes what the norm takes away, so that the product is the fitted one.
  public func fit(_ target: FitTarget) throws -> Parameters {
    let fitted = try pair.fit(try target.checked(for: self))
    var parameters: Parameters = ["core0": fitted.core0, "core1": fitted.core1]
    guard normalized else { return parameters }
    for (gamma, core) in zip(gammas, cores) {
      parameters[gamma] = Self.excess(parameter(core.name, of: parameters), core)
        .reshaped([1])
    }
    try eval(Array(parameters.values))
    return parameters
  }

  /// Normal cores with their deviations, and ones for γ.
  public func initialize(key: MLXArray) -> Parameters {
    var parameters = initialCores(key: key)
    for name in gammas { parameters[name] = .ones([1]) }
    return parameters
  }

  /// κ = K / (2·fanIn) for the cores, 1 for γ.
  public var learningRateMultipliers: OrderedDictionary<String, Double> {
    var multipliers = coreMultipliers
    for name in gammas { multipliers[name] = 1 }
    return multipliers
  }
}
