import MLX
import Operators

/// The second moments of a layer's real inputs, streamed: no input is kept.
///
/// Exact sums in float32, with as many multiply-adds a row as the layer of width K has with N = K.
final class InputMoments {
  /// Σ x xᵀ [K, K].
  private(set) var moment: MLXArray
  /// Σ y xᵀ [N, K] against the outputs that the layer should have.
  private(set) var crossMoment: MLXArray
  /// Σ of stacked rows [t·K, t·K], for structures whose tiles mix t consecutive rows.
  private(set) var tileMoment: MLXArray?
  private let tile: Int?
  private(set) var rows = 0
  private var tiles = 0

  /// Makes empty sums for K inputs and N outputs; with the tile of a row-mixing structure, for its
  /// tiles too.
  init(inputs: Int, outputs: Int, tile: Int? = nil) {
    moment = .zeros([inputs, inputs])
    crossMoment = .zeros([outputs, inputs])
    tileMoment = tile.map { .zeros([$0 * inputs, $0 * inputs]) }
    self.tile = tile
  }

  /// Adds inputs [B, T, K] and the outputs [B, T, N] that they should have.
  func add(_ x: MLXArray, _ y: MLXArray) {
    let flat = x.reshaped([-1, x.dim(-1)]).asType(.float32)
    moment = moment + matmul(flat.transposed(), flat)
    crossMoment =
      crossMoment + matmul(y.reshaped([-1, y.dim(-1)]).asType(.float32).transposed(), flat)
    rows += flat.dim(0)
    guard let tile, let sum = tileMoment else { return }
    let (batch, tokens) = (x.dim(0), x.dim(1))
    let whole = (tokens + tile - 1) / tile * tile
    let stacked = padded(
      x.asType(.float32), widths: [(0, 0), (0, whole - tokens), (0, 0)]
    ).reshaped([batch * whole / tile, tile * x.dim(-1)])
    tileMoment = sum + matmul(stacked.transposed(), stacked)
    tiles += batch * whole / tile
  }

  /// The sums, to be evaluated after each batch so that no graph piles up.
  var sums: [MLXArray] { [moment, crossMoment] + [tileMoment].compactMap(\.self) }

  /// What the layer with a dense weight W should be fitted to: the outputs it should have, on the
  /// inputs it really gets.
  ///
  /// The best dense weight for these is W* = E[y xᵀ] H⁻¹. Rank-deficient inputs leave part of it
  /// open, and a small ridge fills that with W: W* = (E[y xᵀ] + λ W)(H + λ I)⁻¹.
  func target(weight: MLXArray, ridge: Double = 1e-3) throws -> FitTarget {
    let h = moment / Float(max(1, rows))
    let c = crossMoment / Float(max(1, rows))
    let inputs = h.dim(0)
    let amount = sum(diagonal(h)) * (ridge / Double(inputs))
    let system = h + amount * .eye(inputs)
    let best = MLXLinalg.solve(system, (c + amount * weight.asType(.float32)).transposed())
      .transposed()
    let tiles = tileMoment.map { $0 / Float(max(1, self.tiles)) }
    try eval([best, h] + [tiles].compactMap(\.self))
    return FitTarget(weight: best, secondMoment: h, tileMoment: tiles)
  }
}
