import Encoders
import MLX
import Operators
import OrderedCollections
import TestSupport
import Testing

@Suite struct LayerEncodersTests {
  /// Tokens of one process: some to fit on, others to judge by.
  private func tokens(_ fit: Int, held: Int = 2000, inputs: Int = 14) throws -> (
    fit: MLXArray, held: MLXArray
  ) {
    let rows = try CorrelatedTokens(tokens: fit + held, inputs: inputs, seed: 3).rows
    return (rows[..<fit], rows[fit...])
  }

  private func error(
    _ layer: StrassenTile, _ parameters: Parameters, _ weight: MLXArray, on rows: MLXArray
  ) throws -> Double {
    try relativeError(layer.apply(rows, parameters), matmul(rows, weight.transposed()))
  }

  // MARK: - Moments

  @Test func theMomentOfASampleIsThatOfItsStackedRows() throws {
    for (shape, policy) in [
      ([3, 6, 5], RowPolicy.sequence), ([3, 6, 5], .batch), ([3, 6, 5], .flat), ([9, 5], .flat),
    ] {
      let x = gaussian(shape, 1)
      let moment = TileMoment(of: x, tile: 4, rows: policy)
      #expect(moment.matrix.shape == [20, 20])
      let tiles = [RowPolicy.sequence: 6, .batch: 6, .flat: shape.count == 2 ? 3 : 5][policy]
      #expect(moment.tiles == tiles)
      // The trace counts every row once; rows of a tile are the row policy's.
      let energy = Double(try sum(square(x)).item(Float.self)) / Double(moment.tiles)
      let trace = Double(try sum(diagonal(moment.matrix)).item(Float.self))
      #expect(abs(energy - trace) <= 1e-5 * energy)
      let layer = StrassenTile(
        inputs: 5, outputs: 8, encoder: try Algorithms.half(), rows: policy)
      let weight = gaussian([8, 5], 2)
      let parameters = try layer.fit(FitTarget(weight: weight))
      // Whole tiles only where the rows divide: there the claimed error is the measured one.
      if shape == [3, 6, 5] { continue }
      let whole = gaussian([12, 5], 3)
      let claimed = try layer.relativeError(
        parameters,
        FitTarget(weight: weight, tileMoment: TileMoment(of: whole, tile: 4, rows: policy).matrix))
      #expect(abs(claimed - (try error(layer, parameters, weight, on: whole))) <= 1e-3 * claimed)
    }
  }

  @Test func aCentredMomentHasNoMean() throws {
    let x = gaussian([8, 5], 1)
    let moved = TileMoment(of: x + 3, tile: 4, rows: .flat, centred: true)
    let still = TileMoment(of: x, tile: 4, rows: .flat, centred: true)
    try expectClose(moved.matrix, still.matrix, .absolute(1e-4))
  }

  /// White samples know nothing: all that differs from white is chance, and is given up.
  @Test func shrinkageIsOneForWhiteSamplesAndGoesToZeroWithTheTiles() throws {
    let white = TileMoment(of: gaussian([4 * 50, 8], 1), tile: 4, rows: .flat)
    #expect(try white.shrinkage() > 0.9)
    try expectClose(
      white.mixed(1),
      MLXArray.eye(32) * (try sum(diagonal(white.matrix)).item(Float.self) / 32),
      .relative(1e-6))
    var last = 1.0
    for count in [10, 40, 160, 640] {
      let moment = TileMoment(of: try tokens(4 * count).fit, tile: 4)
      let share = try moment.shrinkage()
      #expect(share < 0.6 * last, "\(count): \(share)")
      last = share
    }
    #expect(last < 0.02)
    #expect(throws: StrassenTileError.notFinite("a tile moment")) {
      try TileMoment(matrix: .ones([4, 4]) / 0, tiles: 3).shrinkage()
    }
  }

  // MARK: - Fits

  @Test func encodersOfALayerBeatTheGivenOnesOnOtherInputs() throws {
    let (fit, held) = try tokens(3000)
    let weight = gaussian([12, 14], 9)
    let moment = TileMoment(of: fit, tile: 4)
    let made = try LayerEncoders.fit(
      [weight], moment: moment, encoder: try Algorithms.half(), alternations: 4)
    #expect(made.warning == nil && made.shrinkage < 0.02)
    #expect(made.errors[0] < 0.9 * made.startErrors[0])
    let given = try LayerEncoders.fit(
      [weight], moment: moment, encoder: try Algorithms.half(), alternations: 0)
    let errors = try [made, given].map {
      try error($0.layers[0], $0.parameters[0], weight, on: held)
    }
    #expect(errors[0] < 0.95 * errors[1], "\(errors)")
    // The claimed error is that on the sample.
    let measured = try error(made.layers[0], made.parameters[0], weight, on: fit)
    #expect(abs(measured - made.errors[0]) <= 1e-3 * measured)
  }

  @Test func sharedEncodersServeEveryLayerFromOneEncoding() throws {
    let (fit, held) = try tokens(3000)
    let weights = [gaussian([12, 14], 9), gaussian([10, 14], 10), gaussian([5, 14], 11)]
    let moment = TileMoment(of: fit, tile: 4)
    let encoder = try Algorithms.half()
    let shared = try LayerEncoders.fit(weights, moment: moment, encoder: encoder)
    let table = try #require(shared.parameters[0]["encoder"])
    let rows = shared.layers[0].encode(held, table)
    for index in weights.indices {
      #expect(shared.parameters[index].mapValues(\.shape) == shared.layers[index].shapes)
      for name in ["encoder", "decoder"] {
        try expectClose(
          try #require(shared.parameters[index][name]),
          try #require(shared.parameters[0][name]), .absolute(0))
      }
      #expect(shared.errors[index] < shared.startErrors[index])
      let layer = shared.layers[index]
      try expectClose(
        layer.apply(rows, shared.parameters[index]), layer.apply(held, shared.parameters[index]),
        .absolute(0))
      // One of its own is at least about as good: sharing is a restriction.
      let own = try LayerEncoders.fit([weights[index]], moment: moment, encoder: encoder)
      #expect(own.errors[0] < shared.errors[index] * 1.05)
    }
  }

  /// Ten tiles for 96 unknowns: the fit in their norm alone reproduces them and is worthless
  /// elsewhere; mixed with white inputs it stays near the white fit, and the warning has the numbers.
  @Test func tooFewTilesAreToldAndDoNotCollapse() throws {
    let (fit, held) = try tokens(40)
    let weight = gaussian([12, 14], 9)
    let encoder = try Algorithms.half()
    let moment = TileMoment(of: fit, tile: 4)
    func made(_ shrinkage: Double?) throws -> (LayerEncoders, held: Double) {
      let made = try LayerEncoders.fit(
        [weight], moment: moment, encoder: encoder, alternations: 2, shrinkage: shrinkage)
      return (made, try error(made.layers[0], made.parameters[0], weight, on: held))
    }
    let layer = StrassenTile(inputs: 14, outputs: 12, encoder: encoder)
    let white = try error(
      layer, layer.fit(FitTarget(weight: weight)), weight, on: held)
    let (bare, collapsed) = try made(0)
    let (mixed, saved) = try made(nil)
    #expect(bare.errors[0] < 0.1 && collapsed > 1.5 * white, "\(collapsed), white \(white)")
    #expect(saved < 0.5 * collapsed && saved < 1.05 * white, "\(saved), white \(white)")
    let warning = try #require(mixed.warning)
    #expect(warning.contains("at least 96 tiles") && warning.contains("got 10"))
    #expect(warning.contains("\((mixed.shrinkage * 100).rounded() / 100)"))
  }

  @Test func exactAlgorithmsStayExact() throws {
    let (fit, _) = try tokens(400)
    let weight = gaussian([12, 14], 9)
    let made = try LayerEncoders.fit(
      [weight], moment: TileMoment(of: fit, tile: 4),
      encoder: ExactTable.rank48Accurate.encoder, alternations: 1)
    #expect(made.errors[0] < 1e-4)
  }

  @Test func wrongWeightsSayWhatIsWrong() throws {
    let moment = TileMoment(of: gaussian([40, 14], 1), tile: 4)
    let encoder = try Algorithms.half()
    #expect(try LayerEncoders.fit([], moment: moment, encoder: encoder).layers.isEmpty)
    for weights in [
      [gaussian([4, 14], 1), gaussian([4, 13], 2)], [gaussian([14], 1)], [gaussian([4, 10], 1)],
      [gaussian([4, 14], 1) / 0],
    ] {
      #expect(throws: StrassenTileError.self) {
        try LayerEncoders.fit(weights, moment: moment, encoder: encoder)
      }
    }
  }
}
