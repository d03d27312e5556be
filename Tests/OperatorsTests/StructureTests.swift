import MLX
import Operators
import OrderedCollections
import TestSupport
import Testing

@Suite struct StructureTests {
  @Test(arguments: [
    KroneckerPattern(3, 2, 4, 1), KroneckerPattern(1, 5, 2, 3), KroneckerPattern(2, 3, 4, 5),
    KroneckerPattern(1, 3, 2, 1),
  ])
  func theSupportOfAFactorIsAKroneckerProduct(_ pattern: KroneckerPattern) throws {
    let operation = try OperatorSpec.kroneckerSparse([pattern])
      .makeOperator(inputs: pattern.inputs, outputs: pattern.outputs)
    let count = pattern.nonZeros
    let weight = arange(1, Double(count + 1))
      .reshaped([pattern.a, pattern.b, pattern.c, pattern.d])
    let dense = try #require(operation.dense(["factor0": weight]))
    let support = kron(
      kron(MLXArray.eye(pattern.a), MLXArray.ones([pattern.b, pattern.c])),
      MLXArray.eye(pattern.d))
    #expect(try arrayEqual(dense .!= 0, support .!= 0).item(Bool.self))
    // Every weight appears once.
    #expect(try sum(dense).item(Float.self) == Float(count * (count + 1) / 2))
  }

  @Test(arguments: [(4, 3, 2, 5, 2), (3, 4, 5, 2, 1), (6, 2, 3, 4, 3)])
  func blockTensorTrainIsAKroneckerSparsePair(
    _ m0: Int, _ m1: Int, _ n0: Int, _ n1: Int, _ rank: Int
  ) throws {
    let (k, n) = (m0 * m1, n0 * n1)
    let train = try BlockTensorTrain(
      inputs: k, outputs: n, rank: rank, input: Factors(m0, m1), output: Factors(n0, n1))
    let pair = try KroneckerSparse(
      inputs: k, outputs: n,
      patterns: [KroneckerPattern(m1, rank * n0, m0, 1), KroneckerPattern(1, n1, rank * m1, n0)])
    let cores = randomParameters(of: train, seed: 1)
    let core0 = try #require(cores["core0"])
    let core1 = try #require(cores["core1"])
    // The inner index is (n0, R) in core 0 and (R, n0) in the factor.
    let factors: Parameters = [
      "factor0": core0.reshaped([m1, m0, n0, rank]).transposed(0, 3, 2, 1)
        .reshaped([m1, rank * n0, m0, 1]),
      "factor1": core1.transposed(2, 1, 0).reshaped([1, n1, m1 * rank, n0]),
    ]
    let x = MLXRandom.normal([4, k], key: MLXRandom.key(2))
    // The output is (n0, n1) in one, (n1, n0) in the other.
    let expected = pair.apply(x, factors).reshaped([4, n1, n0]).transposed(0, 2, 1)
      .reshaped([4, n])
    try expectClose(train.apply(x, cores), expected, .roundings(32, of: .float32))
    #expect(train.cost == pair.cost)
  }

  @Test func lowRankAndMonarchArePairsToo() throws {
    let x = MLXRandom.normal([4, 12], key: MLXRandom.key(3))
    let low = try LowRank(inputs: 12, outputs: 8, rank: 3)
    let parameters = randomParameters(of: low, seed: 4)
    let v = try #require(parameters["v"])
    let u = try #require(parameters["u"])
    let pair = try KroneckerSparse(
      inputs: 12, outputs: 8,
      patterns: [KroneckerPattern(1, 3, 12, 1), KroneckerPattern(1, 8, 3, 1)])
    let factors: Parameters = [
      "factor0": v.reshaped([1, 3, 12, 1]), "factor1": u.reshaped([1, 8, 3, 1]),
    ]
    try expectClose(
      low.apply(x, parameters), pair.apply(x, factors), .roundings(32, of: .float32))

    let monarch = try Monarch(inputs: 12, outputs: 8, blocks: 2)
    let train = try BlockTensorTrain(
      inputs: 12, outputs: 8, rank: 2, input: Factors(6, 2), output: Factors(2, 4))
    let cores = randomParameters(of: monarch, seed: 5)
    try expectClose(
      monarch.apply(x, cores), train.apply(x, cores), .roundings(32, of: .float32))
  }

  @Test func multiplyAddsAreCountedFromTheDefinitions() throws {
    // Table of design: one product at a time, by hand for 12 inputs and 10 outputs.
    let expected: [(String, Double)] = [
      ("dense", 120), ("lowrank:rank=3", 66), ("kronecker:in=4x3,out=2x5", 4 * 3 * 5 + 4 * 5 * 2),
      ("tt:rank=2,in=4x3,out=2x5", 2 * (4 * 3 * 5 + 4 * 5 * 2)),
      ("btt:rank=2,in=4x3,out=2x5", 2 * 4 * 3 * 2 + 2 * 3 * 2 * 5),
      ("ks:3x2x4x1+1x5x3x2", 24 + 30), ("2:4", 60),
      ("monarch:blocks=2", 2 * 6 * 6 + 2 * 6 * 5),
    ]
    for (text, count) in expected {
      let operation = try OperatorSpec(parsing: text).makeOperator(inputs: 12, outputs: 10)
      #expect(operation.cost.multiplyAdds == count, "\(text)")
    }
  }

  @Test func unusedBitsOfAnIndexAreIgnored() throws {
    // A damaged file must not write outside a group.
    let operation = TwoFour(inputs: 8, outputs: 3)
    var parameters = operation.initialize(key: MLXRandom.key(6))
    let x = MLXRandom.normal([2, 8], key: MLXRandom.key(7))
    let before = operation.apply(x, parameters)
    let indices = try #require(parameters["indices"])
    parameters["indices"] = (indices + 252).asType(.uint8)
    try expectClose(operation.apply(x, parameters), before, .roundings(1, of: .float32))
    try expectClose(
      try #require(operation.dense(parameters)), operation.denseByProduct(parameters),
      .roundings(1, of: .float32))
  }

  @Test func weightNormalizationBoundsTheCores() throws {
    let operation = try BlockTensorTrain(inputs: 36, outputs: 48, rank: 2, normalized: true)
    let plain = try BlockTensorTrain(inputs: 36, outputs: 48, rank: 2)
    var parameters = operation.initialize(key: MLXRandom.key(8))
    for (name, core) in zip(["core0", "core1"], operation.cores) {
      parameters[name] = MLXRandom.normal(core.shape, key: MLXRandom.key(9)) * 50
    }
    let once = try #require(operation.dense(parameters))
    let doubled = try #require(
      operation.dense(parameters.mapValues { $0.ndim == 3 ? $0 * 2 : $0 }))
    try expectClose(doubled, once, .roundings(32, of: .float32))
    // Below the bound nothing happens.
    let small = parameters.mapValues { $0.ndim == 3 ? $0 * 1e-4 : $0 }
    let bare = small.filter { $0.key.hasPrefix("core") }
    try expectClose(
      try #require(operation.dense(small)), try #require(plain.dense(bare)),
      .roundings(32, of: .float32))
  }
}

@Suite struct TrainingRuleTests {
  /// Wide enough for the statistics of one draw.
  static let wide: [Specimen] = [
    Specimen("dense", 256, 256), Specimen("dense", 128, 512), Specimen("dense", 512, 128),
    Specimen("lowrank:rank=64", 256, 256), Specimen("kronecker", 256, 256),
    Specimen("tt:rank=4", 256, 256), Specimen("monarch:blocks=4", 256, 256),
    Specimen("btt:rank=2", 256, 256), Specimen("btt:rank=2", 256, 1024),
    Specimen("btt:rank=2,norm=true", 256, 256), Specimen("ks:16x16x16x1+1x16x16x16", 256, 256),
    Specimen("2:4", 256, 256),
  ]

  @Test(arguments: wide)
  func initialValuesKeepTheSecondMoment(_ specimen: Specimen) throws {
    let operation = try specimen.make()
    let x = MLXRandom.normal([256, specimen.inputs], key: MLXRandom.key(1))
    var measured = 0.0
    let draws = 8
    for draw in 0..<draws {
      let parameters = operation.initialize(key: MLXRandom.key(UInt64(draw + 2)))
      measured += try Double(mean(square(operation.apply(x, parameters))).item(Float.self))
    }
    measured /= Double(draws)
    // Each core passes on min(1, fanOut / fanIn) of the variance.
    let expected: Double
    if let product = operation as? any CoreProduct {
      expected = product.cores.reduce(1) { $0 * min(1, Double($1.fanOut) / Double($1.fanIn)) }
    } else {
      expected = min(1, Double(specimen.outputs) / Double(specimen.inputs))
    }
    #expect(abs(measured / expected - 1) < 0.15, "\(measured) against \(expected)")
  }

  @Test func multipliersAreThoseOfThePaper() throws {
    // Table 2 of arXiv 2406.06248 for square layers, d = 256, √d = 16.
    let expected: [(String, [Double])] = [
      ("dense", [1]), ("lowrank:rank=32", [0.5, 256 / 64.0]), ("kronecker", [8, 8]),
      ("monarch:blocks=4", [2, 2]), ("btt:rank=2", [8, 4]), ("tt:rank=2", [4, 8]),
      ("btt:rank=2,norm=true", [8, 4, 1, 1]), ("2:4", [2]),
    ]
    for (text, multipliers) in expected {
      let operation = try OperatorSpec(parsing: text).makeOperator(inputs: 256, outputs: 256)
      #expect(Array(operation.learningRateMultipliers.values) == multipliers, "\(text)")
    }
  }
}
