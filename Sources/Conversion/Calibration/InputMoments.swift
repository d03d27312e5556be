import MLX
import Operators

/// The moments of a layer's real inputs and of the outputs it should have, streamed: no input is
/// kept.
///
/// Exact sums in float32; a row costs K (K + N) multiply-adds, and t·K² more where tiles are summed.
final class InputMoments {
  private var rowSum: MLXArray
  private var outputSum: MLXArray
  private var moment: MLXArray
  private var crossMoment: MLXArray
  private var tileSum: MLXArray?
  private var tileMoment: MLXArray?
  private let tile: Int?
  private var rows = 0
  private var tiles = 0
  private var pendingInputs: [MLXArray] = []
  private var pendingOutputs: [MLXArray] = []
  private var pendingRows = 0

  /// Makes empty sums for K inputs and N outputs; with the tile of a row-mixing structure, for t
  /// stacked rows too.
  init(inputs: Int, outputs: Int, tile: Int? = nil) {
    rowSum = .zeros([inputs])
    outputSum = .zeros([outputs])
    moment = .zeros([inputs, inputs])
    crossMoment = .zeros([outputs, inputs])
    tileSum = tile.map { .zeros([$0 * inputs]) }
    tileMoment = tile.map { .zeros([$0 * inputs, $0 * inputs]) }
    self.tile = tile
  }

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
    if let tile, let vectors = tileSum, let matrix = tileMoment {
      let stacked = concatenated(pendingInputs.map { stackedRows($0, tile: tile) }, axis: 0)
      tileSum = vectors + sum(stacked, axis: 0)
      tileMoment = matrix + matmul(stacked.transposed(), stacked)
      tiles += stacked.dim(0)
    }
    (pendingInputs, pendingOutputs, pendingRows) = ([], [], 0)
    try eval(
      [rowSum, outputSum, moment, crossMoment] + [tileSum, tileMoment].compactMap(\.self))
  }

  /// [B, T, K] → [tiles, t·K], each sample padded by zero rows to whole tiles.
  private func stackedRows(_ x: MLXArray, tile: Int) -> MLXArray {
    let (batch, tokens) = (x.dim(0), x.dim(1))
    let whole = (tokens + tile - 1) / tile * tile
    return padded(x, widths: [(0, 0), (0, whole - tokens), (0, 0)])
      .reshaped([batch * whole / tile, tile * x.dim(-1)])
  }

  /// What a layer with a bias should be fitted to: the outputs it should have on the inputs it
  /// really gets, both without their means, which the bias takes care of.
  ///
  /// The best dense weight for these is W* = cov(y, x) cov(x)⁻¹. Rank-deficient inputs leave part of
  /// it open, and a small ridge fills that with the weight W that was there:
  /// W* = (cov(y, x) + λ W) (cov(x) + λ I)⁻¹.
  func target(weight: MLXArray, ridge: Double = 1e-2) throws -> FitTarget {
    try flush()
    let count = Float(max(1, rows))
    let (meanX, meanY) = (rowSum / count, outputSum / count)
    let covariance = moment / count - outer(meanX, meanX)
    let cross = crossMoment / count - outer(meanY, meanX)
    let inputs = covariance.dim(0)
    let amount = sum(diagonal(covariance)) * (ridge / Double(inputs))
    let best = MLXLinalg.solve(
      covariance + amount * .eye(inputs),
      (cross + amount * weight.asType(.float32)).transposed()
    ).transposed()
    var stacked: MLXArray?
    if let tileSum, let tileMoment {
      let mean = tileSum / Float(max(1, tiles))
      stacked = tileMoment / Float(max(1, tiles)) - outer(mean, mean)
    }
    try eval([best, covariance] + [stacked].compactMap(\.self))
    return FitTarget(weight: best, secondMoment: covariance, tileMoment: stacked)
  }

  /// The bias [N] that gives the fitted product the mean that the outputs should have.
  ///
  /// A structure that mixes rows gets a tile of mean rows, and the bias its rows' average.
  func bias(for structure: any LinearOperator, _ parameters: Parameters) -> MLXArray {
    let count = Float(max(1, rows))
    let mean = broadcast(rowSum / count, to: [1, tile ?? 1, structure.inputs])
    return outputSum / count - structure.apply(mean, parameters).mean(axes: [0, 1])
  }
}
