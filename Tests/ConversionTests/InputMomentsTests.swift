import MLX
import Operators
import OrderedCollections
import TestSupport
import Testing

@testable import Conversion

@Suite struct InputMomentsTests {
  /// Inputs [B, T, K] with a mean, and outputs that are nearly linear in them.
  private func data(
    _ shape: [Int], outputs: Int, seed: UInt64 = 0
  ) -> (x: MLXArray, y: MLXArray) {
    let keys = MLXRandom.split(key: MLXRandom.key(seed), into: 4)
    let inputs = shape[2]
    let x =
      MLXRandom.normal(shape, key: keys[0]) + MLXRandom.normal([inputs], key: MLXRandom.key(77))
    let map = MLXRandom.normal([inputs, outputs], key: MLXRandom.key(78))
    let noise = MLXRandom.normal(Array(shape.dropLast()) + [outputs], key: keys[3])
    return (x, matmul(x, map) + 0.5 * noise + 2)
  }

  private func rows(_ array: MLXArray) -> MLXArray { array.reshaped([-1, array.dim(-1)]) }

  @Test func theTargetIsLeastSquaresWithAnIntercept() throws {
    let (x, y) = data([4, 10, 5], outputs: 3)
    let dense = try OperatorSpec.dense.makeOperator(inputs: 5, outputs: 3)
    let moments = InputMoments(for: dense)
    #expect(moments.isEmpty)
    try moments.add(x, y)
    #expect(!moments.isEmpty)
    let target = try moments.target(weight: .zeros([3, 5]), ridge: 0)
    // The same by the normal equations of the inputs with a column of ones.
    let ones = concatenated([rows(x), .ones([40, 1])], axis: 1)
    let solution = MLXLinalg.solve(
      matmul(ones.T, ones), matmul(ones.T, rows(y)))
    try expectClose(target.weight, solution[0..<5].T, .relative(1e-4))
    let centred = rows(x) - rows(x).mean(axis: 0)
    try expectClose(
      #require(target.secondMoment), matmul(centred.T, centred) / 40, .relative(1e-5))
    #expect(target.tileMoment == nil)
    try expectClose(
      moments.bias(of: dense, ["weight": target.weight]), solution[5], .relative(1e-4))
  }

  @Test func whatTheInputsLeaveOpenStaysAsItWas() throws {
    let (x, y) = data([4, 10, 3], outputs: 3)
    let moments = InputMoments(for: try OperatorSpec.dense.makeOperator(inputs: 5, outputs: 3))
    try moments.add(padded(x, widths: [(0, 0), (0, 0), (0, 2)]), y)
    let weight = MLXRandom.normal([3, 5], key: MLXRandom.key(9))
    let target = try moments.target(weight: weight, ridge: 1e-3)
    try expectClose(target.weight[0..., 3...], weight[0..., 3...], .relative(1e-5))
    #expect(try relativeError(target.weight[0..., 0..<3], weight[0..., 0..<3]) > 0.1)
  }

  @Test(arguments: [
    "lowrank:rank=1", "2:4", "stl:rank=24", "stl:rank=24,rows=batch", "stl:rank=24,rows=flat",
    "stl:rank=7,tile=2",
  ])
  func theBiasMakesTheMeansEqual(_ spec: String) throws {
    let structure = try OperatorSpec(parsing: spec).makeOperator(inputs: 6, outputs: 5)
    let moments = InputMoments(for: structure)
    // Lengths that fill tiles, and lengths that do not.
    let batches = [[2, 5, 6], [3, 8, 6], [1, 3, 6]].enumerated().map { index, shape in
      data(shape, outputs: 5, seed: UInt64(index))
    }
    for (x, y) in batches { try moments.add(x, y) }
    let parameters = try structure.fit(moments.target(weight: .zeros([5, 6])))
    let bias = try moments.bias(of: structure, parameters)
    let outputs = batches.map { rows(structure.apply($0.x, parameters) + bias) }
    let wanted = batches.map { rows($0.y) }
    try expectClose(
      concatenated(outputs, axis: 0).mean(axis: 0), concatenated(wanted, axis: 0).mean(axis: 0),
      .relative(1e-5))
  }

  /// The tiles of t rows of inputs [B][T][K], stacked, with zero rows where there are none.
  private func tiles(_ x: [[[Double]]], tile: Int, rows: RowPolicy) -> [[Double]] {
    let (samples, tokens, width) = (x.count, x[0].count, x[0][0].count)
    let sequences: [[[Double]]] =
      switch rows {
      case .sequence: x
      case .batch: (0..<tokens).map { token in (0..<samples).map { x[$0][token] } }
      case .flat: [x.flatMap(\.self)]
      }
    return sequences.flatMap { rows in
      stride(from: 0, to: rows.count, by: tile).map { start in
        (start..<(start + tile)).flatMap {
          $0 < rows.count ? rows[$0] : [Double](repeating: 0, count: width)
        }
      }
    }
  }

  @Test(arguments: RowPolicy.allCases)
  func tilesAreThoseOfTheRowPolicy(_ rows: RowPolicy) throws {
    let structure = try OperatorSpec.strassenTile(rank: 7, tile: 2, rows: rows)
      .makeOperator(inputs: 3, outputs: 2)
    let moments = InputMoments(for: structure)
    var all: [[Double]] = []
    for (seed, shape) in [[3, 5, 3], [2, 4, 3], [1, 1, 3]].enumerated() {
      let (x, y) = data(shape, outputs: 2, seed: UInt64(seed))
      try moments.add(x, y)
      let flat = try x.asArray(Double.self)
      let samples = (0..<shape[0]).map { sample in
        (0..<shape[1]).map { token in
          let start = (sample * shape[1] + token) * 3
          return Array(flat[start..<(start + 3)])
        }
      }
      all += tiles(samples, tile: 2, rows: rows)
    }
    let count = Double(all.count)
    var mean = [Double](repeating: 0, count: 6)
    for tile in all { for column in 0..<6 { mean[column] += tile[column] / count } }
    var expected = [Double](repeating: 0, count: 36)
    for tile in all {
      let centred = zip(tile, mean).map { $0 - $1 }
      for i in 0..<6 { for j in 0..<6 { expected[6 * i + j] += centred[i] * centred[j] / count } }
    }
    let sampled = try #require(try moments.sampledTiles())
    #expect(sampled.tiles == all.count)
    expectClose(try sampled.matrix.asArray(Double.self), expected, .relative(1e-5))
    // What is fitted on has white inputs mixed in, as so few tiles need.
    let exact = TileMoment(matrix: MLXArray(expected, [6, 6]), tiles: all.count)
    let share = try exact.shrinkage()
    #expect(share > 0.01 && share <= 1)
    let target = try moments.target(weight: .zeros([2, 3]))
    try expectClose(
      #require(target.tileMoment), exact.mixed(share), .relative(1e-5))
  }

  /// A fit on fewer tiles than it has unknowns stays near what it would be for white inputs, on
  /// inputs that it did not see.
  @Test func fewTextsDoNotRuinStrassenTile() throws {
    let structure = try OperatorSpec.strassenTile(rank: 32).makeOperator(inputs: 32, outputs: 16)
    let weight = MLXRandom.normal([16, 32], key: MLXRandom.key(3))
    let moments = InputMoments(for: structure)
    let (x, _) = data([2, 12, 32], outputs: 16)
    try moments.add(x, matmul(x, weight.T))
    let fitted = try structure.fit(moments.target(weight: weight))
    let white = try structure.fit(FitTarget(weight: weight))
    let unseen = MLXRandom.normal([40, 12, 32], key: MLXRandom.key(4))
    func error(_ parameters: Parameters) throws -> Double {
      try TestSupport.relativeError(
        structure.apply(unseen, parameters), matmul(unseen, weight.T))
    }
    #expect(try error(fitted) < 1.3 * error(white))
  }

  /// Rows are gathered until 4096 are there: the sums must not depend on when that is.
  @Test func gatheringChangesNothing() throws {
    let structure = try OperatorSpec.strassenTile(rank: 7, tile: 2)
      .makeOperator(inputs: 4, outputs: 3)
    let (x, y) = data([260, 21, 4], outputs: 3)
    let (whole, parts) = (InputMoments(for: structure), InputMoments(for: structure))
    try whole.add(x, y)
    for start in stride(from: 0, to: 260, by: 52) {
      try parts.add(x[start..<(start + 52)], y[start..<(start + 52)])
      if start == 104 { try parts.flush() }
    }
    let weight = MLXArray.zeros([3, 4])
    let (a, b) = (try whole.target(weight: weight), try parts.target(weight: weight))
    try expectClose(b.weight, a.weight, .relative(1e-4))
    try expectClose(#require(b.secondMoment), #require(a.secondMoment), .relative(1e-4))
    try expectClose(#require(b.tileMoment), #require(a.tileMoment), .relative(1e-4))
    let parameters = structure.initialize(key: MLXRandom.key(5))
    try expectClose(
      parts.bias(of: structure, parameters), whole.bias(of: structure, parameters),
      .relative(1e-4))
  }
}
