import MLX
import Operators
import OrderedCollections
import TestSupport
import Testing

@Suite struct FitTests {
  /// Sizes at which each structure has fewer parameters than a dense layer.
  static let compressing: [Specimen] = [
    Specimen("dense", 24, 24), Specimen("lowrank:rank=5", 24, 40),
    Specimen("lowrank:rank=5", 40, 24), Specimen("kronecker", 24, 36),
    Specimen("tt:rank=3", 36, 23), Specimen("monarch:blocks=4", 32, 48),
    Specimen("monarch:blocks=3", 47, 22), Specimen("btt:rank=2", 36, 48),
    Specimen("btt:rank=1", 35, 22), Specimen("btt:rank=2,norm=true", 36, 48),
    Specimen("ks:4x8x9x1+1x12x8x4", 36, 48), Specimen("ks:4x6x9x1+2x6x6x2", 35, 23),
    Specimen("ks:2x3x4x4", 32, 24),
    Specimen("ks:1x2x2x16+2x2x2x8+4x2x2x4+8x2x2x2+16x2x2x1", 32, 32),
    Specimen("2:4", 32, 20), Specimen("2:4", 31, 9),
  ]

  /// A second moment with a decaying spectrum in a random basis, of rank `rank`.
  static func moment(_ size: Int, rank: Int? = nil, seed: UInt64) -> MLXArray {
    let (basis, _) = MLXLinalg.qr(MLXRandom.normal([size, size], key: MLXRandom.key(seed)))
    let spectrum = (0..<size).map { $0 < rank ?? size ? 1 / Float(($0 + 1) * ($0 + 1)) : 0 }
    return matmul(basis * MLXArray(spectrum), basis.transposed())
  }

  @Test(arguments: compressing)
  func aFitWithMomentsIsAtLeastAsGoodOnTheData(_ specimen: Specimen) throws {
    let operation = try specimen.make()
    let weight = MLXRandom.normal([specimen.outputs, specimen.inputs], key: MLXRandom.key(1))
    let plain = try operation.fit(FitTarget(weight: weight))
    for rank in [specimen.inputs, specimen.inputs / 3] {
      let target = FitTarget(
        weight: weight, secondMoment: Self.moment(specimen.inputs, rank: rank, seed: 2))
      let before = try relativeError(of: operation, plain, target)
      let after = try relativeError(of: operation, operation.fit(target), target)
      #expect(after <= before * (1 + 1e-4) + 1e-6)
      // Where there is something to trade, it is traded: random weights leave an error.
      if before > 0.05 { #expect(after < 0.97 * before, "\(before) → \(after)") }
    }
  }

  @Test(arguments: [
    Specimen("lowrank:rank=32", 192, 96), Specimen("btt:rank=2", 192, 96),
    Specimen("monarch:blocks=4", 192, 96), Specimen("kronecker", 192, 96),
    Specimen("tt:rank=4", 192, 96), Specimen("2:4", 192, 96),
    Specimen("ks:1x8x6x32+8x4x8x4+32x6x4x1", 192, 192),
  ])
  func outlierInputsAreSurvived(_ specimen: Specimen) throws {
    // As in transformers: two inputs carry nearly all the energy, and there are fewer samples than
    // inputs, so that float32 holds most of H's spectrum as rounding noise.
    let operation = try specimen.make()
    let k = specimen.inputs
    let weight = MLXRandom.normal([specimen.outputs, k], key: MLXRandom.key(15))
    let samples = MLXRandom.normal([k / 3, k], key: MLXRandom.key(16))
    samples[0..., 5] = samples[0..., 5] * 1000 + 3000
    samples[0..., 77] = samples[0..., 77] * 300
    let moment = matmul(samples.transposed(), samples) / Float(k / 3)
    let target = FitTarget(weight: weight, secondMoment: moment)
    let plain = try operation.fit(FitTarget(weight: weight))
    let before = try relativeError(of: operation, plain, target)
    let after = try relativeError(of: operation, operation.fit(target), target)
    #expect(after < 0.7 * before, "\(before) → \(after)")
  }

  @Test(arguments: compressing + Specimen.zoo)
  func aWeightOfTheStructureIsRecovered(_ specimen: Specimen) throws {
    let operation = try specimen.make()
    let parameters = operation.initialize(key: MLXRandom.key(3))
    let weight = try #require(operation.dense(parameters))
    // Alternating least squares approaches the optimum of a long chain in the limit only.
    let bound = specimen.spec.split(separator: "+").count > 2 ? 1e-2 : 1e-3
    for moment in [nil, Self.moment(specimen.inputs, seed: 4)] {
      let target = FitTarget(weight: weight, secondMoment: moment)
      let error = try relativeError(of: operation, operation.fit(target), target)
      #expect(error < bound, "\(moment == nil ? "plain" : "data") \(error)")
    }
  }

  @Test(arguments: [
    Specimen("lowrank:rank=6", 10, 6), Specimen("tt:rank=9", 9, 9),
    Specimen("btt:rank=3", 12, 10), Specimen("btt:rank=4", 16, 16),
    Specimen("monarch:blocks=1", 12, 8), Specimen("ks:1x8x12x1", 12, 8),
  ])
  func fullRankIsLossless(_ specimen: Specimen) throws {
    let operation = try specimen.make()
    let weight = MLXRandom.normal([specimen.outputs, specimen.inputs], key: MLXRandom.key(5))
    for moment in [nil, Self.moment(specimen.inputs, seed: 6)] {
      let target = FitTarget(weight: weight, secondMoment: moment)
      #expect(try relativeError(of: operation, operation.fit(target), target) < 1e-4)
    }
  }

  @Test func lowRankReachesTheOptimumOfTheData() throws {
    let operation = try Specimen("lowrank:rank=4", 12, 9).make()
    let weight = MLXRandom.normal([9, 12], key: MLXRandom.key(7))
    let moment = Self.moment(12, seed: 8) + 1e-2 * MLXArray.eye(12)
    let target = FitTarget(weight: weight, secondMoment: moment)
    let whitened = matmul(weight, MLXLinalg.cholesky(moment))
    let values = try square(MLXLinalg.svd(whitened).1).asArray(Double.self)
    let optimum = (values.dropFirst(4).reduce(0, +) / values.reduce(0, +)).squareRoot()
    let reached = try relativeError(of: operation, operation.fit(target), target)
    #expect(abs(reached - optimum) < 1e-4)
  }

  @Test func blocksReachTheOptimumOfThePlainNorm() throws {
    // Each block of a Block Tensor-Train matrix is a truncated singular value decomposition.
    let operation = try Specimen("btt:rank=2,in=5x4,out=3x6", 20, 18).make()
    let weight = MLXRandom.normal([18, 20], key: MLXRandom.key(9))
    let blocks = weight.reshaped(3, 6, 4, 5).transposed(0, 2, 1, 3)
    let values = square(MLXLinalg.svd(blocks).1)
    let optimum = try
      (sum(values[0..., 0..., 2...]).item(Float.self)
      / sum(values).item(Float.self)).squareRoot()
    let target = FitTarget(weight: weight)
    let reached = try relativeError(of: operation, operation.fit(target), target)
    #expect(abs(reached - Double(optimum)) < 1e-5)
  }

  @Test func alternationIsNotCaughtByItsSmallSteps() throws {
    // The documented case: half the parameters, correlated inputs; blockwise decomposition .60 of
    // the data's norm, alternating least squares well below it.
    let operation = try Specimen("btt:rank=2", 64, 64).make()
    let weight = MLXRandom.normal([64, 64], key: MLXRandom.key(10))
    let (basis, _) = MLXLinalg.qr(MLXRandom.normal([64, 64], key: MLXRandom.key(11)))
    let moment = matmul(basis / arange(1, 65), basis.transposed())
    let target = FitTarget(weight: weight, secondMoment: moment)
    #expect(try relativeError(of: operation, operation.fit(target), target) < 0.45)
  }

  @Test func theWeightsKeptAreTheBestAtTheirPlaces() throws {
    // At the optimum of a row's least squares the gradient Δ H vanishes where weights are kept.
    let operation = TwoFour(inputs: 31, outputs: 9)
    let weight = MLXRandom.normal([9, 31], key: MLXRandom.key(13))
    let moment = Self.moment(31, seed: 14) + 1e-2 * MLXArray.eye(31)
    let fitted = try operation.fit(FitTarget(weight: weight, secondMoment: moment))
    let dense = try #require(operation.dense(fitted))
    let gradient = matmul(weight - dense, moment)
    let kept = try norm(gradient * (dense .!= 0).asType(.float32)).item(Float.self)
    let cut = try norm(gradient).item(Float.self)
    #expect(kept < 1e-2 * cut)
  }

  @Test func aZeroWeightOrMomentIsFitted() throws {
    for specimen in Self.compressing {
      let operation = try specimen.make()
      let (n, k) = (specimen.outputs, specimen.inputs)
      let random = MLXRandom.normal([n, k], key: MLXRandom.key(12))
      for (weight, moment) in [
        (MLXArray.zeros([n, k]), nil), (.zeros([n, k]), MLXArray.eye(k)),
        (random, .zeros([k, k])), (random * 1e-12, .eye(k) * 1e-12), (random * 1e6, .eye(k) * 1e6),
      ] {
        let target = FitTarget(weight: weight, secondMoment: moment)
        for array in try operation.fit(target).values {
          #expect(try all(isFinite(array)).item(Bool.self), "\(specimen.testDescription)")
        }
      }
    }
  }

  @Test func targetsAreChecked() throws {
    let operation = try Specimen("lowrank:rank=2", 4, 3).make()
    let weight = MLXArray.ones([3, 4])
    let wrong = [
      FitTarget(weight: .ones([4, 3])), FitTarget(weight: weight / 0),
      FitTarget(weight: weight, secondMoment: .eye(3)),
      FitTarget(weight: weight, secondMoment: .eye(4) * Float.nan),
    ]
    for target in wrong {
      let error = #expect(throws: FitError.self) { try operation.fit(target) }
      #expect(try #require(error).description.hasPrefix("[fit] expected a"))
    }
    let failed = FitTarget(weight: matmul(weight, weight))
    #expect(throws: MLXError.self) { try operation.fit(failed) }
  }

  @Test func aTruncatedLowRankFitIsTheFitOfTheSmallerRank() throws {
    let weight = MLXRandom.normal([9, 14], key: MLXRandom.key(21))
    let rows = MLXRandom.normal([40, 14], key: MLXRandom.key(22))
    let target = FitTarget(weight: weight, secondMoment: matmul(rows.T, rows))
    let (large, small) = (
      try LowRank(inputs: 14, outputs: 9, rank: 7), try LowRank(inputs: 14, outputs: 9, rank: 3)
    )
    let truncated = large.truncated(try large.fit(target), to: small)
    try expectClose(
      #require(small.dense(truncated)), #require(small.dense(try small.fit(target))),
      .relative(1e-5))
  }
}
