import Encoders
import MLX
import Operators
import OrderedCollections
import TestSupport
import Testing

/// Algorithms for tests: exact ones of the library, and an inexact one that needs no table.
enum Algorithms {
  static let exact = [
    ExactTable.strassen.encoder, ExactTable.strassenSquared.encoder,
    ExactTable.rank48Accurate.encoder,
  ]

  /// Strassen's square with every second of its components, rank 24: far from exact.
  static func half() throws -> Encoder {
    try thinned(keeping: { $0 % 2 == 1 })
  }

  /// The components of Strassen's square that a condition keeps.
  static func thinned(keeping: (Int) -> Bool) throws -> Encoder {
    let whole = ExactTable.strassenSquared.encoder
    let planes = (0..<whole.rank).filter(keeping)
    func rows(_ table: [Double]) -> [Double] {
      planes.flatMap { table[$0 * whole.tileArea..<($0 + 1) * whole.tileArea] }
    }
    return try Encoder(
      name: "thinned", tile: 4, rank: planes.count, activation: rows(whole.activation),
      weight: rows(whole.weight), decoder: rows(whole.decoder),
      provenance: .init(source: "components of Strassen's square"))
  }
}

/// Standard normal numbers.
func gaussian(_ shape: [Int], _ seed: UInt64) -> MLXArray {
  MLXRandom.normal(shape, key: MLXRandom.key(seed))
}

@Suite struct StrassenTileProductTests {
  @Test(arguments: Algorithms.exact, RowPolicy.allCases)
  func exactAlgorithmsComputeTheDenseProduct(encoder: Encoder, rows: RowPolicy) throws {
    for (n, k, leading) in [
      (8, 12, [3, 8]), (9, 7, [2, 5]), (5, 13, [7]), (4, 4, [1]), (6, 10, []), (3, 5, [2, 3, 6]),
      (5, 6, [0]), (5, 6, [2, 0]), (5, 6, [0, 3]),
    ] {
      let layer = StrassenTile(inputs: k, outputs: n, encoder: encoder, rows: rows)
      let weight = gaussian([n, k], 1)
      let parameters = try layer.fit(FitTarget(weight: weight))
      let x = gaussian(leading + [k], 2)
      try expectClose(
        layer.apply(x, parameters), matmul(x, weight.transposed()), .relative(1e-5))
      try expectClose(try #require(layer.dense(parameters)), weight, .relative(1e-5))
    }
  }

  @Test func sharedEncodingsGiveTheSeparateProducts() throws {
    for rows in RowPolicy.allCases {
      let query = StrassenTile(
        inputs: 10, outputs: 7, encoder: try Algorithms.half(), rows: rows)
      let key = StrassenTile(inputs: 10, outputs: 12, encoder: try Algorithms.half(), rows: rows)
      let q = try query.fit(FitTarget(weight: gaussian([7, 10], 1)))
      let k = try key.fit(FitTarget(weight: gaussian([12, 10], 2)))
      let x = gaussian([2, 5, 10], 3)
      let rows = query.encode(x, try #require(q["encoder"]))
      #expect(rows.planes.dim(0) == 24 && rows.planes.dim(2) == 3)
      try expectClose(query.apply(rows, q), query.apply(x, q), .absolute(0))
      try expectClose(key.apply(rows, k), key.apply(x, k), .absolute(0))
    }
  }

  @Test func gradientsOfInputsAndParametersAgreeWithDifferences() throws {
    for rows in RowPolicy.allCases {
      let layer = StrassenTile(inputs: 7, outputs: 5, encoder: try Algorithms.half(), rows: rows)
      let start = try layer.fit(FitTarget(weight: gaussian([5, 7], 1)))
      let names = Array(start.keys)
      try expectGradient(
        of: { arguments in
          let parameters = Parameters(uniqueKeysWithValues: zip(names, arguments.dropFirst()))
          return sum(square(layer.apply(arguments[0], parameters))) * 0.01
        }, at: [gaussian([3, 6, 7], 2)] + names.compactMap { start[$0] })
    }
  }

  @Test(arguments: [DType.bfloat16, .float16])
  func lowPrecisionIsAsGoodAsThePlainProduct(type: DType) throws {
    for encoder in Algorithms.exact {
      let layer = StrassenTile(inputs: 24, outputs: 20, encoder: encoder)
      let weight = gaussian([20, 24], 1)
      let parameters = try layer.fit(FitTarget(weight: weight))
      let x = gaussian([2, 10, 24], 2)
      let y = layer.apply(x.asType(type), parameters)
      #expect(y.dtype == type)
      // Encoded rows, parameters and products are rounded, three roundings on the way where the
      // plain product has one; what they add up to is the noise gain of the algorithm.
      let gain = encoder.noiseGain.squareRoot()
      let exact = matmul(x, weight.transposed())
      let plain = matmul(x.asType(type), weight.asType(type).transposed())
      #expect(try relativeError(y, exact) < 2 * gain * relativeError(plain, exact))
    }
  }

  @Test func errorOnRandomMatricesIsTheErrorOfTheAlgorithm() throws {
    for encoder in [try Algorithms.half(), try Encoder.best(tile: 4, rank: 32)] {
      let layer = StrassenTile(inputs: 128, outputs: 96, encoder: encoder)
      let weight = gaussian([96, 128], 5)
      let x = gaussian([512, 128], 6)
      // The encoder's own weight table, whose error the identity is about.
      var parameters = try layer.fit(FitTarget(weight: weight))
      let tiles = weight.reshaped(24, 4, 32, 4).transposed(3, 1, 0, 2).reshaped(16, 24 * 32)
      let fitted = try relativeError(layer.apply(x, parameters), matmul(x, weight.transposed()))
      parameters["weight"] = matmul(MLXArray(encoder.weight, [encoder.rank, 16]), tiles)
        .reshaped(encoder.rank, 24, 32)
      let error = try relativeError(layer.apply(x, parameters), matmul(x, weight.transposed()))
      #expect(abs(error * error - encoder.error) < 0.02 * encoder.error)
      // The closed form can only be better.
      #expect(fitted * fitted < encoder.error * 1.02)
    }
  }

  @Test func costCountsWholeTilesWithEncodeAndDecode() throws {
    let layer = try StrassenTile(inputs: 768, outputs: 3072, rank: 24)
    let (dense, coding) = (768 * 3072, 24 * (768 + 3072))
    #expect(layer.cost.multiplyAdds == Double(dense * 24 / 64 + coding))
    #expect(layer.cost.parameters == dense * 24 / 16 + 2 * 24 * 16)
    // Speed-up 1 / (R/t³ + R/N + R/K).
    #expect((2.41..<2.43).contains(Double(dense) / layer.cost.multiplyAdds))
    let ragged = StrassenTile(inputs: 7, outputs: 5, encoder: try Algorithms.half())
    let products = 24 * 2 * 2 / 4
    #expect(ragged.cost.multiplyAdds == Double(products + 24 * 4 * 4))
    #expect(
      ragged.shapes == ["weight": [24, 2, 2], "encoder": [24, 16], "decoder": [24, 16]])
  }

  @Test func initialOutputsHaveTheVarianceOfADenseLayer() throws {
    let random = try Encoder.named("random-0", tile: 4, rank: 24)
    let inexact = [try Algorithms.half(), try Encoder.best(tile: 4, rank: 24), random]
    for encoder in inexact + Algorithms.exact {
      let layer = StrassenTile(inputs: 64, outputs: 96, encoder: encoder)
      let parameters = layer.initialize(key: MLXRandom.key(1))
      #expect(parameters.mapValues(\.shape) == layer.shapes)
      let x = gaussian([256, 64], 2)
      let variance = try layer.apply(x, parameters).square().sum().item(Float.self) / (256 * 96)
      #expect(abs(variance - 1) < 0.1)
      let planes = layer.encode(x, try #require(parameters["encoder"])).planes
      let perPlane = try planes.square().sum(axes: [1, 2]).asArray(Double.self)
      // Scales are powers of two, so within a factor √2 of 1 in norm.
      let numbers = Double(planes.dim(1) * planes.dim(2))
      for plane in perPlane { #expect((0.4...2.3).contains(plane / numbers)) }
      if layer.isExact { #expect(layer.dense(parameters) != nil) }
    }
  }

  @Test func learningRatesOfATileOfOneAreTheDenseOnes() throws {
    let classical = try Encoder(
      name: "classical", tile: 1, rank: 1, activation: [1], weight: [1], decoder: [1],
      provenance: .init(source: "scalar product"))
    let scalar = StrassenTile(inputs: 100, outputs: 8, encoder: classical)
    #expect(scalar.learningRateMultipliers["weight"] == 1)
    #expect(scalar.learningRateMultipliers.keys == scalar.shapes.keys)
    let weight = gaussian([8, 100], 1)
    let parameters = try scalar.fit(FitTarget(weight: weight))
    let x = gaussian([3, 100], 2)
    try expectClose(
      scalar.apply(x, parameters), matmul(x, weight.transposed()), .relative(1e-5))
  }

  @Test func wrongShapesSayWhatIsWrong() throws {
    let layer = StrassenTile(inputs: 7, outputs: 5, encoder: try Algorithms.half())
    let parameters = try layer.fit(FitTarget(weight: gaussian([5, 7], 1)))
    let narrow = try #require(layer.apply(gaussian([3, 6], 2), parameters).failure)
    #expect(narrow.description.contains("7") && narrow.description.contains("[3, 6]"))
    for name in parameters.keys {
      var broken = parameters
      broken[name] = MLXArray.zeros([2, 2])
      let failure = try #require(layer.apply(gaussian([3, 7], 2), broken).failure)
      #expect(failure.description.contains(name))
      broken[name] = nil
      #expect(layer.apply(gaussian([3, 7], 2), broken).failure != nil)
    }
    #expect(throws: StrassenTileError.self) {
      try layer.fit(FitTarget(weight: gaussian([7, 5], 1)))
    }
    #expect(throws: StrassenTileError.notFinite("a weight")) {
      try layer.fit(FitTarget(weight: gaussian([5, 7], 1) / 0))
    }
    #expect(throws: StrassenTileError.self) {
      try layer.fit(FitTarget(weight: gaussian([5, 7], 1), tileMoment: .zeros([7, 7])))
    }
    #expect(throws: StrassenTileError.self) {
      try StrassenTile(inputs: 8, outputs: 8, rank: 24, encoder: "strassen")
    }
  }
}
