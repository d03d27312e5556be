import Encoders
import MLX
@testable import Operators
import OrderedCollections
import TestSupport
import Testing

/// Tokens as real activations are: a mean, a few large inputs, inputs that depend on each other, and
/// neighbouring tokens that resemble each other.
struct CorrelatedTokens {
  /// X [T, K].
  let rows: MLXArray

  init(rows: MLXArray) { self.rows = rows }

  init(tokens: Int, inputs: Int, seed: UInt64) throws {
    let mixing = gaussian([inputs, inputs], seed) * 0.3 + MLXArray.eye(inputs)
    let noise = matmul(gaussian([tokens, inputs], seed + 1), mixing)
    let scale = exp(gaussian([inputs], seed + 2) * 0.7)
    var row = MLXArray.zeros([inputs])
    var rows: [MLXArray] = []
    for token in 0..<tokens {
      row = row * 0.7 + noise[token]
      rows.append(row)
    }
    self.rows = stacked(rows) * scale + gaussian([inputs], seed + 3)
    try eval(self.rows)
  }

  /// E[x xᵀ] [K, K].
  var secondMoment: MLXArray { matmul(rows.transposed(), rows) / rows.dim(0) }

  /// The second moment of t stacked rows, the last tile padded by zero rows.
  func tileMoment(tile t: Int) -> MLXArray {
    let missing = (t - rows.dim(0) % t) % t
    let tiles = padded(rows, widths: [(0, missing), (0, 0)]).reshaped(-1, t * rows.dim(1))
    return matmul(tiles.transposed(), tiles) / tiles.dim(0)
  }
}

@Suite struct StrassenTileFitTests {
  /// A layer of ragged sizes, tokens of 41 rows, and the target with their exact tile moment.
  private func problem(inputs: Int = 14, outputs: Int = 10, rows: RowPolicy = .sequence) throws
    -> (layer: StrassenTile, tokens: CorrelatedTokens, target: FitTarget)
  {
    let layer = StrassenTile(
      inputs: inputs, outputs: outputs, encoder: try Algorithms.half(), rows: rows)
    let tokens = try CorrelatedTokens(tokens: 241, inputs: inputs, seed: 3)
    let target = FitTarget(
      weight: gaussian([outputs, inputs], 9), secondMoment: tokens.secondMoment,
      tileMoment: tokens.tileMoment(tile: 4))
    return (layer, tokens, target)
  }

  @Test func errorFromTheTileMomentIsTheErrorOnTheTokens() throws {
    let (layer, tokens, target) = try problem()
    let parameters = try layer.fit(FitTarget(weight: target.weight))
    let exact = matmul(tokens.rows, target.weight.transposed())
    // Padding rows produce outputs that nobody sees but the moment counts: take whole tiles.
    let measured = try relativeError(layer.apply(tokens.rows[..<240], parameters), exact[..<240])
    let whole = CorrelatedTokens(rows: tokens.rows[..<240])
    let claimed = try layer.relativeError(
      parameters, FitTarget(weight: target.weight, tileMoment: whole.tileMoment(tile: 4)))
    #expect(abs(measured - claimed) <= 1e-3 * measured)
  }

  @Test func fitInTheDataNormIsBetterOnTheDataThanTheWhiteFit() throws {
    for (inputs, outputs) in [(14, 10), (16, 8), (5, 3)] {
      let (layer, _, target) = try problem(inputs: inputs, outputs: outputs)
      let white = try layer.fit(FitTarget(weight: target.weight))
      let independent = try layer.fit(
        FitTarget(weight: target.weight, secondMoment: target.secondMoment))
      let stacked = try layer.fit(target)
      let errors = try [white, independent, stacked].map { try layer.relativeError($0, target) }
      #expect(errors[2] < 0.95 * errors[0])
      #expect(errors[2] < errors[1])
      // Each is best in its own norm.
      let rows = FitTarget(weight: target.weight, secondMoment: target.secondMoment)
      #expect(try layer.relativeError(independent, rows) < layer.relativeError(white, rows))
      #expect(try layer.relativeError(independent, rows) < layer.relativeError(stacked, rows))
    }
  }

  @Test func noWeightNearbyIsBetter() throws {
    let (layer, _, target) = try problem(outputs: 12)
    let fitted = try layer.fit(target)
    let error = try layer.relativeError(fitted, target)
    for seed in 20..<26 as Range<UInt64> {
      var moved = fitted
      let weight = try #require(fitted["weight"])
      moved["weight"] = weight + gaussian(weight.shape, seed) * 0.01
      #expect(try layer.relativeError(moved, target) > error)
    }
  }

  @Test func alternationsLowerTheError() throws {
    let (layer, _, target) = try problem()
    var last = Double.infinity
    for alternations in 0..<4 {
      let error = try layer.relativeError(layer.fit(target, alternations: alternations), target)
      #expect(error < last)
      last = error
    }
  }

  @Test func groupsOfInputTilesApproachTheWholeSolution() throws {
    let (layer, _, target) = try problem(inputs: 30, outputs: 12)
    let whole = try layer.relativeError(layer.fit(target), target)
    let white = try layer.fit(FitTarget(weight: target.weight))
    var problem = try TileProblem(layer, target)
    problem.largestSystem = 3 * 24
    var tables = try StrassenTile.Tables(layer, white)
    var last = try layer.relativeError(white, target)
    for _ in 0..<3 {
      try problem.improveWeight(&tables)
      let error = try layer.relativeError(tables.parameters, target)
      #expect(error < last)
      last = error
    }
    #expect(whole < last && last < 1.1 * whole)
  }

  @Test func fitsOfExactAlgorithmsStayExact() throws {
    let (_, _, target) = try problem()
    for encoder in Algorithms.exact where encoder.tile == 4 {
      let layer = StrassenTile(inputs: 14, outputs: 10, encoder: encoder)
      let parameters = try layer.fit(target)
      #expect(try layer.relativeError(parameters, target) < 1e-5)
      try expectClose(try #require(layer.dense(parameters)), target.weight, .relative(1e-5))
    }
  }

  @Test func leastSquaresDenseIsTheNearestForWhiteInputs() throws {
    let layer = StrassenTile(inputs: 8, outputs: 12, encoder: try Algorithms.half())
    var parameters = try layer.fit(FitTarget(weight: gaussian([12, 8], 1)))
    parameters["weight"] = gaussian([24, 3, 2], 2)
    let nearest = layer.leastSquaresDense(parameters)
    // relativeError is relative to the dense output: undo that.
    func distance(_ weight: MLXArray) throws -> Double {
      try layer.relativeError(parameters, FitTarget(weight: weight))
        * Double(norm(weight).item(Float.self))
    }
    let least = try distance(nearest)
    for seed in 3..<7 as Range<UInt64> {
      #expect(try distance(nearest + gaussian([12, 8], seed) * 0.1) > least)
    }
    #expect(layer.dense(parameters) == nil)
  }

  @Test func momentsWithoutInformationGiveTheWhiteFit() throws {
    let (layer, _, target) = try problem(outputs: 12)
    let white = try #require(try layer.fit(FitTarget(weight: target.weight))["weight"])
    for target in [
      FitTarget(weight: target.weight, secondMoment: .eye(14) * 3),
      FitTarget(weight: target.weight, tileMoment: .eye(56) * 3),
    ] {
      let weight = try #require(try layer.fit(target)["weight"])
      // The inputs that pad the last tile are zero here and white there.
      try expectClose(weight[0..., 0..., ..<3], white[0..., 0..., ..<3], .relative(1e-3))
    }
  }
}
