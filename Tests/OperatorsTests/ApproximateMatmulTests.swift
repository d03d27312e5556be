import Encoders
import MLX
import Operators
import TestSupport
import Testing

@Suite struct ApproximateMatmulTests {
  private func squared(_ a: MLXArray, _ b: MLXArray) throws -> Double {
    let error = try relativeError(a, b)
    return error * error
  }

  @Test func theProductIsThatOfTheLoops() throws {
    let encoder = try Encoder.named("fitted-4-24")
    for (m, k, n) in [(8, 12, 4), (7, 5, 9), (1, 1, 1), (4, 13, 6)] {
      let (a, b) = (gaussian([m, k], 1), gaussian([k, n], 2))
      let loops = encoder.multiply(
        try a.asArray(Double.self), try b.asArray(Double.self), rows: m, inner: k, columns: n)
      let product = approximateMatmul(a, b, encoder: encoder)
      #expect(product.shape == [m, n])
      expectClose(try product.asArray(Double.self), loops, .roundings(64, of: .float32))
    }
  }

  @Test func exactAlgorithmsGiveTheProductWithAndWithoutSigns() throws {
    for encoder in ExactTable.library.map(\.encoder) {
      for (leading, m, k, n) in [([], 6, 9, 5), ([2, 3], 4, 7, 8), ([1], 1, 3, 2)] {
        let (a, b) = (gaussian(leading + [m, k], 3), gaussian(leading + [k, n], 4))
        for randomization in [.none, ProductRandomization.signsAndPermutations(seed: 5)] {
          let product = approximateMatmul(
            a, b, encoder: encoder, randomization: randomization)
          try expectClose(product, matmul(a, b), .relative(1e-5))
        }
      }
    }
  }

  /// For isotropic operands the error is the encoder's.
  @Test(arguments: ["fitted-2-5", "fitted-3-15", "fitted-4-24", "fitted-4-40"])
  func isotropicOperandsHaveTheEncodersError(_ name: String) throws {
    let encoder = try Encoder.named(name)
    let (a, b) = (gaussian([252, 240], 1), gaussian([240, 264], 2))
    let measured = try squared(approximateMatmul(a, b, encoder: encoder), matmul(a, b))
    #expect(abs(measured - encoder.error) <= 0.03 * encoder.error)
    #expect(try tileCondition(a, tile: encoder.tile) < 1.5)
  }

  /// Tiles L z with white z: the error leaves the encoder's, and stays within the bound.
  @Test func theErrorStaysWithinTheBoundOfTheCondition() throws {
    var departure = 0.0
    for name in ["fitted-4-16", "fitted-4-24", "fitted-4-40"] {
      let encoder = try Encoder.named(name)
      for (seed, strength) in [(1, 0.1), (2, 0.3), (3, 1.0)] as [(UInt64, Double)] {
        func tiles(_ seed: UInt64, _ rows: Int, _ columns: Int) -> MLXArray {
          let mixing = MLXArray.eye(16) + gaussian([16, 16], seed) * strength
          return matmul(mixing, gaussian([16, rows * columns], seed + 10))
            .reshaped(4, 4, rows, columns).transposed(2, 0, 3, 1)
            .reshaped(4 * rows, 4 * columns)
        }
        let (a, b) = (tiles(seed, 64, 60), tiles(seed + 5, 60, 64))
        let measured = try squared(approximateMatmul(a, b, encoder: encoder), matmul(a, b))
        let condition = try tileCondition(a, tile: 4) * tileCondition(b, tile: 4)
        // Two percent for the sample.
        #expect(measured >= 0.98 * encoder.error / condition)
        #expect(measured <= 1.02 * encoder.error * condition)
        departure = max(departure, abs(measured / encoder.error - 1))
      }
    }
    #expect(departure > 0.05)
  }

  /// Operands with structure, whose plain product is far from the prediction.
  @Test func randomisedProductsAreUnbiasedAndHaveTheExpectedError() throws {
    let encoder = try Encoder.named("fitted-4-24")
    let positive = (
      MLXRandom.uniform([22, 26], key: MLXRandom.key(1)),
      MLXRandom.uniform([26, 19], key: MLXRandom.key(2))
    )
    let low = (
      matmul(gaussian([22, 1], 3), gaussian([1, 26], 4)),
      matmul(gaussian([26, 2], 5), gaussian([2, 19], 6))
    )
    for (a, b) in [positive, low] {
      let exact = matmul(a, b)
      let seeds = 400
      var mean = MLXArray.zeros([22, 19])
      var error = 0.0
      for seed in 0..<seeds {
        let product = approximateMatmul(
          a, b, encoder: encoder, randomization: .signsAndPermutations(seed: UInt64(seed)))
        error += try squared(product, exact) / Double(seeds)
        mean = mean + product / seeds
        if seed % 50 == 0 { try eval(mean) }
      }
      let expected = try expectedRandomizedError(a, b, encoder: encoder)
      #expect(abs(error - expected) <= 0.1 * expected, "\(error), expected \(expected)")
      // The mean of independent unbiased results misses by the error over their number.
      let missed = try squared(mean, exact)
      #expect(missed <= 1.5 * expected / Double(seeds), "\(missed)")
      // The plain one is biased: the mean of its scaled product would miss by more.
      let plain = try squared(approximateMatmul(a, b, encoder: encoder), exact)
      #expect(plain > 20 * missed)
    }
  }

  @Test func gradientsAgreeWithDifferences() throws {
    let encoder = try Encoder.named("fitted-2-5")
    for randomization in [.none, ProductRandomization.signsAndPermutations(seed: 3)] {
      try expectGradient(
        of: { x in
          sum(
            square(
              approximateMatmul(x[0], x[1], encoder: encoder, randomization: randomization)))
            * 0.05
        }, at: [gaussian([3, 4], 1), gaussian([4, 5], 2)])
    }
  }

  @Test func lowPrecisionKeepsItsType() throws {
    let encoder = ExactTable.rank48Accurate.encoder
    let (a, b) = (gaussian([32, 32], 1), gaussian([32, 32], 2))
    let product = approximateMatmul(a.asType(.bfloat16), b.asType(.bfloat16), encoder: encoder)
    #expect(product.dtype == .bfloat16)
    let error = try relativeError(product, matmul(a, b))
    #expect(error < 0.03)
  }

  @Test func wrongShapesAndEmptyOnesSayWhatTheyAre() throws {
    let encoder = try Encoder.named("strassen")
    for (a, b) in [
      (gaussian([2, 3], 1), gaussian([2, 3], 2)), (gaussian([3], 1), gaussian([3, 1], 2)),
      (gaussian([2, 2, 3], 1), gaussian([3, 3, 2], 2)),
    ] {
      let failure = try #require(approximateMatmul(a, b, encoder: encoder).failure)
      #expect(failure.description.contains("\(a.shape)"))
    }
    let empty = approximateMatmul(
      MLXArray.zeros([0, 3]), MLXArray.zeros([3, 2]), encoder: encoder)
    #expect(empty.shape == [0, 2])
    #expect(throws: FitError.self) { try tileCondition(gaussian([3, 9], 1), tile: 4) }
    #expect(throws: FitError.self) {
      try expectedRandomizedError(gaussian([3], 1), gaussian([3, 2], 1), encoder: encoder)
    }
    #expect(try tileCondition(MLXArray.ones([16, 16]), tile: 4) == .infinity)
  }
}
