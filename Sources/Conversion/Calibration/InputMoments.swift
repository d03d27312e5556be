import MLX
import Operators

/// The moments of a layer's real inputs and of the outputs it should have, streamed: no input is
/// kept.
///
/// Exact sums in float32; a row costs K (K + N) multiply-adds, and t·K² more where tiles are summed.
final class InputMoments {
  private let tiled: StrassenTile?
  /// Whether the layer has a bias, which takes care of the means.
  private let hasBias: Bool
  private var rowSum: MLXArray
  private var outputSum: MLXArray
  private var moment: MLXArray
  private var crossMoment: MLXArray
  /// The sums of tiles, as stacked rows [t·K], by how many rows they hold beside zeros: 1 to t.
  private var tileSums: [MLXArray]
  private var tileMoment: MLXArray?
  private var rows = 0
  /// The tiles that have been summed, after ``flush()``.
  private(set) var tiles = 0
  private var pendingInputs: [MLXArray] = []
  private var pendingOutputs: [MLXArray] = []
  private var pendingRows = 0

  /// Makes empty sums for what is to become of a layer; of one that mixes rows, for its tiles too.
  init(for structure: any LinearOperator, hasBias: Bool = true) {
    self.hasBias = hasBias
    let (inputs, outputs) = (structure.inputs, structure.outputs)
    tiled = structure as? StrassenTile
    rowSum = .zeros([inputs])
    outputSum = .zeros([outputs])
    moment = .zeros([inputs, inputs])
    crossMoment = .zeros([outputs, inputs])
    let width = (tiled?.tile ?? 0) * inputs
    tileSums = [MLXArray](repeating: .zeros([width]), count: tiled?.tile ?? 0)
    tileMoment = tiled.map { _ in .zeros([width, width]) }
  }

  /// Whether nothing has been added.
  var isEmpty: Bool { rows + pendingRows == 0 }

  /// Adds inputs [B, T, K] and the outputs [B, T, N] that they should have.
  ///
  /// Rows are gathered until there are enough for one large product: many thin ones would spend
  /// their time on adding the results.
  func add(_ x: MLXArray, _ y: MLXArray) throws {
    pendingInputs.append(x.asType(.float32))
    pendingOutputs.append(y.reshaped([-1, y.dim(-1)]).asType(.float32))
    try eval([pendingInputs[pendingInputs.count - 1], pendingOutputs[pendingOutputs.count - 1]])
    pendingRows += x.size / max(1, x.dim(-1))
    if pendingRows >= 4096 { try flush() }
  }

  /// Adds the gathered rows to the sums.
  func flush() throws {
    guard pendingRows > 0 else { return }
    let x = concatenated(pendingInputs.map { $0.reshaped([-1, $0.dim(-1)]) }, axis: 0)
    let y = concatenated(pendingOutputs, axis: 0)
    rowSum = rowSum + sum(x, axis: 0)
    outputSum = outputSum + sum(y, axis: 0)
    moment = moment + matmul(x.transposed(), x)
    crossMoment = crossMoment + matmul(y.transposed(), x)
    rows += x.dim(0)
    if let tiled, let matrix = tileMoment {
      let parts = pendingInputs.map { RowTiles($0, tiled) }
      for part in parts { tileSums = zip(tileSums, part.sums(tile: tiled.tile)).map { $0 + $1 } }
      let stacked = concatenated(parts.map(\.all), axis: 0)
      tileMoment = matrix + matmul(stacked.transposed(), stacked)
      tiles += stacked.dim(0)
    }
    (pendingInputs, pendingOutputs, pendingRows) = ([], [], 0)
    try eval(
      [rowSum, outputSum, moment, crossMoment] + tileSums + [tileMoment].compactMap(\.self))
  }

  /// What a layer should be fitted to: the outputs it should have on the inputs it really gets, of a
  /// layer with a bias both without their means.
  ///
  /// The best dense weight for these is W* = cov(y, x) cov(x)⁻¹. Rank-deficient inputs leave part of
  /// it open, and a small ridge fills that with the weight W that was there:
  /// W* = (cov(y, x) + λ W) (cov(x) + λ I)⁻¹ = W + (cov(y, x) − W cov(x)) (cov(x) + λ I)⁻¹. The second
  /// form keeps W where it is right already, to the precision of the sums.
  func target(weight: MLXArray, ridge: Double = 1e-2) throws -> FitTarget {
    try flush()
    let count = Float(max(1, rows))
    var (covariance, cross) = (moment / count, crossMoment / count)
    if hasBias {
      let (meanX, meanY) = (rowSum / count, outputSum / count)
      covariance = covariance - outer(meanX, meanX)
      cross = cross - outer(meanY, meanX)
    }
    let inputs = covariance.dim(0)
    let amount = sum(diagonal(covariance)) * (ridge / Double(inputs))
    let weight = weight.asType(.float32)
    let best =
      weight
      + MLXLinalg.solve(
        covariance + amount * .eye(inputs),
        (cross - matmul(weight, covariance)).transposed()
      ).transposed()
    // Few tiles do not determine t·K directions: without white inputs mixed in, the fit would be
    // right on them and on nothing else.
    let stacked = try sampledTiles().map { $0.mixed(try $0.shrinkage()) }
    try eval([best, covariance] + [stacked].compactMap(\.self))
    return FitTarget(weight: best, secondMoment: covariance, tileMoment: stacked)
  }

  /// The moment of the tiles as they came, of a layer with a bias without their mean; `nil` where
  /// none are summed.
  func sampledTiles() throws -> TileMoment? {
    try flush()
    guard let tileMoment, let first = tileSums.first else { return nil }
    let count = Float(max(1, tiles))
    guard hasBias else { return TileMoment(matrix: tileMoment / count, tiles: tiles) }
    let mean = tileSums.dropFirst().reduce(first, +) / count
    return TileMoment(matrix: tileMoment / count - outer(mean, mean), tiles: tiles)
  }

  /// The bias [N] that gives a fitted operator's product the mean that the outputs should have.
  ///
  /// A structure that mixes rows is linear in its tiles, so its outputs on the sums of tiles are the
  /// sums of its outputs; those of zero rows do not count.
  func bias(
    of operation: any LinearOperator, _ parameters: Parameters, outputs: Range<Int>? = nil
  ) throws -> MLXArray {
    try flush()
    var total = operation.apply(rowSum.reshaped([1, 1, -1]), parameters).reshaped([-1])
    if let tiled = operation as? StrassenTile {
      let shape =
        tiled.rows == .batch
        ? [tiled.tile, 1, tiled.inputs] : [1, tiled.tile, tiled.inputs]
      let sums = tileSums.enumerated().map { index, tile in
        let outputs = tiled.apply(tile.reshaped(shape), parameters)
        return sum(outputs.reshaped([tiled.tile, -1])[0...index], axis: 0)
      }
      total = sums.dropFirst().reduce(sums.first ?? total, +)
    }
    return ((outputs.map { outputSum[$0] } ?? outputSum) - total) / Float(max(1, rows))
  }
}
