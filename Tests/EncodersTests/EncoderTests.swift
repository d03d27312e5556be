import Encoders
import Testing

@Suite struct EncoderTests {
  /// ‖T − Σ u ⊗ v ⊗ w‖² / t³ entry by entry.
  private func errorByEntries(_ encoder: Encoder) -> Double {
    let (t, area) = (encoder.tile, encoder.tileArea)
    var sum = 0.0
    for a in 0..<area {
      for b in 0..<area {
        for c in 0..<area {
          var entry = a / t == c / t && a % t == b / t && b % t == c % t ? 1.0 : 0.0
          for p in 0..<encoder.rank {
            entry -=
              encoder.activation[p * area + a] * encoder.weight[p * area + b]
              * encoder.decoder[p * area + c]
          }
          sum += entry * entry
        }
      }
    }
    return sum / Double(t * area)
  }

  private func random(tile: Int, rank: Int, seed: UInt64) throws -> Encoder {
    var state = seed
    func table() -> [Double] {
      (0..<rank * tile * tile).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Double(Int64(bitPattern: state) >> 33) * 0x1p-30
      }
    }
    return try Encoder(
      name: "random", tile: tile, rank: rank, activation: table(), weight: table(),
      decoder: table(), provenance: Encoder.Provenance(source: "test"))
  }

  @Test(arguments: [(1, 1), (2, 3), (2, 7), (3, 5)])
  func errorEqualsTheDistanceOfTheTensors(tile: Int, rank: Int) throws {
    let encoder = try random(tile: tile, rank: rank, seed: UInt64(tile * 10 + rank))
    #expect(abs(encoder.error - errorByEntries(encoder)) <= 1e-10 * (1 + encoder.error))
  }

  @Test(arguments: [(2, 5), (4, 24), (3, 27)])
  func keepingProductsLosesTheirShare(tile: Int, rank: Int) {
    let encoder = Encoder.keepingProducts(rank, tile: tile)
    #expect(abs(encoder.error - (1 - encoder.productRatio)) <= 1e-12)
    #expect(abs(encoder.noiseGain - encoder.productRatio) <= 1e-12)
  }

  @Test func errorIsThatOfRandomProducts() throws {
    let encoder = Encoder.keepingProducts(5, tile: 2)
    // The deviation shrinks like 1/size; the seed is fixed.
    #expect(abs(encoder.sampledError(size: 32, count: 2) - encoder.error) <= 0.03)
  }

  @Test(arguments: [(4, 6, 8), (5, 7, 3), (1, 1, 1)])
  func exactProductEqualsDenseProductAtAnySize(rows: Int, inner: Int, columns: Int) {
    let a = (0..<rows * inner).map { Double($0 * 7 % 11) - 5 }
    let b = (0..<inner * columns).map { Double($0 * 5 % 13) - 6 }
    let dense = Encoder.classical(tile: 1)
      .multiply(a, b, rows: rows, inner: inner, columns: columns)
    for table in ExactTable.library {
      let product = table.encoder.multiply(a, b, rows: rows, inner: inner, columns: columns)
      let worst = zip(product, dense).map { abs($0 - $1) }.max() ?? .nan
      #expect(worst <= 1e-10, "\(table.name)")
    }
  }

  @Test func balancingKeepsTheAlgorithm() throws {
    let encoder = try random(tile: 2, rank: 4, seed: 5)
    let balanced = encoder.balanced
    #expect(abs(encoder.error - balanced.error) <= 1e-10 * (1 + encoder.error))
    #expect(abs(encoder.noiseGain - balanced.noiseGain) <= 1e-10 * encoder.noiseGain)
    for p in 0..<4 {
      let norms = [balanced.activation, balanced.weight, balanced.decoder].map { table in
        table[p * 4..<(p + 1) * 4].reduce(0) { $0 + $1 * $1 }
      }
      #expect(abs(norms[0] - norms[1]) <= 1e-12 * norms[0])
      #expect(abs(norms[0] - norms[2]) <= 1e-12 * norms[0])
    }
  }

  @Test func kroneckerProductOfExactAlgorithmsIsExact() {
    let square = ExactTable.strassen.encoder.kronecker(ExactTable.strassen.encoder)
    #expect(square.tile == 4 && square.rank == 49)
    #expect(square.error <= 1e-12)
    #expect(square.activation == ExactTable.strassenSquared.encoder.activation)
    #expect(square.noiseGain == 16)
  }

  @Test func errorsOfLeastSquaresFactorsCombine() throws {
    let (five, six) = (
      Encoder.keepingProducts(5, tile: 2), Encoder.keepingProducts(6, tile: 2)
    )
    let product = five.kronecker(six)
    #expect(abs((1 - product.error) - (1 - five.error) * (1 - six.error)) <= 1e-12)
  }

  @Test func optimalDecoderCannotBeImproved() throws {
    var encoder = try random(tile: 2, rank: 5, seed: 3).optimallyDecoded
    let error = encoder.error
    for index in encoder.decoder.indices {
      let entry = encoder.decoder[index]
      for step in [-0.01, 0.01] {
        encoder.decoder[index] = entry + step
        #expect(encoder.error >= error)
      }
      encoder.decoder[index] = entry
    }
  }

  @Test func optimalDecoderOfAnExactAlgorithmIsExact() throws {
    for table in ExactTable.library {
      var encoder = table.encoder
      for index in encoder.decoder.indices { encoder.decoder[index] = 0 }
      #expect(encoder.optimallyDecoded.error <= 1e-9, "\(table)")
    }
    // Products that depend linearly on each other do no harm.
    let twice = ExactTable.strassen.encoder
    let doubled = try Encoder(
      name: "twice", tile: 2, rank: 14, activation: twice.activation + twice.activation,
      weight: twice.weight + twice.weight, decoder: Array(repeating: 0, count: 56),
      provenance: twice.provenance)
    #expect(doubled.optimallyDecoded.error <= 1e-9)
  }

  @Test func costCountsEncodeAndDecode() throws {
    let encoder = Encoder.keepingProducts(24, tile: 4)
    #expect(encoder.productRatio == 0.375)
    #expect(encoder.parameterRatio == 1.5)
    // R/t³ + R/N + R/K, strassen-tile row 768, 3072: 2.42 times fewer.
    let ratio = encoder.costRatio(inputs: 768, outputs: 3072)
    #expect(abs(ratio - (0.375 + 24.0 / 768 + 24.0 / 3072)) <= 1e-12)
    let both = encoder.costRatio(rows: 128, inputs: 768, outputs: 3072)
    #expect(abs(both - ratio - 24.0 / 128) <= 1e-12)
    // Padding is paid for.
    #expect(encoder.costRatio(inputs: 5, outputs: 4) > encoder.costRatio(inputs: 8, outputs: 4))
  }

  @Test func tablesOfTheWrongSizeOrWithNaNAreRefused() {
    func make(_ u: [Double]) throws {
      _ = try Encoder(
        name: "x", tile: 1, rank: 1, activation: u, weight: [1], decoder: [1],
        provenance: Encoder.Provenance(source: "test"))
    }
    #expect(throws: EncoderError.shape(name: "x", expected: 1, got: 2)) { try make([1, 2]) }
    #expect(throws: EncoderError.notFinite(name: "x")) { try make([.nan]) }
  }

  @Test func unknownNamesListTheKnownOnes() {
    #expect(throws: EncoderError.unknown(name: "no", known: Encoder.names)) {
      try Encoder.named("no")
    }
    #expect(throws: EncoderError.unavailable(tile: 7, rank: 3)) {
      try Encoder.best(tile: 7, rank: 3)
    }
  }

  @Test func randomTablesAreThoseOfTheirSeed() throws {
    let first = try Encoder.named("random-3", tile: 4, rank: 24)
    let again = try Encoder.named("random-3", tile: 4, rank: 24)
    let other = try Encoder.named("random-4", tile: 4, rank: 24)
    #expect(first == again && first.name == "random-3" && first.activation != other.activation)
    for table in [first.activation, first.weight, first.decoder] {
      let variance = table.reduce(0) { $0 + $1 * $1 } / Double(table.count)
      #expect(table.count == 24 * 16 && abs(variance - 0.25) < 0.06)
    }
    // Nothing of the product of matrices is in them.
    #expect(first.error > 0.9)
    #expect(try Encoder.named("strassen", tile: 2, rank: 7) == Encoder.named("strassen"))
    for name in ["random", "random-", "random--1", "random-x"] {
      #expect(throws: EncoderError.unknown(name: name, known: Encoder.names)) {
        try Encoder.named(name, tile: 4, rank: 24)
      }
    }
  }
}
