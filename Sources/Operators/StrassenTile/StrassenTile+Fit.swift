import Encoders
import MLX
import OrderedCollections

extension StrassenTile {
  /// The weight that approximates a dense one best under the algorithm of ``encoder``, in `float32`.
  ///
  /// Without moments the inputs count as white. Then the best weight is a linear encoding of each
  /// tile of W, w = G⁻¹ C vec(W tile) with
  ///
  ///     G[p, p'] = (D Dᵀ)[p, p'] (U Uᵀ)[p, p'],   C[p, (c, b)] = Σ_a D[p, at + c] U[p, at + b],
  ///
  /// the normal equations of min ‖I ⊗ W − Σ_p w_p D_p ⊗ U_p‖². For an exact algorithm it is exact.
  ///
  /// With the second moment S of t stacked rows (``FitTarget/tileMoment``, of tiles as this layer's
  /// row policy forms them, zero rows included where they occur) it minimises the mean squared error
  /// of the outputs on such inputs; with ``FitTarget/secondMoment`` H alone, S = I ⊗ H: the rows of a
  /// tile count as independent with mean zero. Real activations have a mean, often a large one, and
  /// neighbouring tokens resemble each other; S knows both, and no such fit is worse on the inputs
  /// that made S than the white one.
  ///
  /// - Parameters:
  ///   - target: the dense weight and the moments of the layer's inputs.
  ///   - alternations: how often decoder and encoder are refitted in the data norm afterwards, each
  ///     followed by the weight. The result has its own encoder, which layers that read the same
  ///     input share only if they are fitted as one (weights concatenated along N).
  ///
  /// Cost: with moments (R·K/t)³/3 multiply-adds for the normal equations up to 10 240 unknowns,
  /// and beyond that block descent over groups of input tiles.
  ///
  /// Throws ``StrassenTileError`` where an array has another shape or is not finite.
  public func fit(_ target: FitTarget, alternations: Int = 0) throws -> Parameters {
    let problem = try TileProblem(self, target)
    var tables = try problem.start()
    try problem.alternate(&tables, times: alternations)
    return tables.parameters
  }

  /// The weight that approximates a dense one best; see ``fit(_:alternations:)``.
  public func fit(_ target: FitTarget) throws -> Parameters {
    try fit(target, alternations: 0)
  }

  /// The error of the outputs on the inputs whose moments the target holds, as a share of the
  /// outputs: (E‖Y − Ŷ‖² / E‖Y‖²)^½.
  ///
  /// The moments are used as in ``fit(_:alternations:)``: with a tile moment the figure is exact.
  public func relativeError(_ parameters: Parameters, _ target: FitTarget) throws -> Double {
    let problem = try TileProblem(self, target)
    let (error, energy) = try problem.energies(Tables(self, parameters))
    return energy > 0 ? (error / energy).squareRoot() : 0
  }

  /// The unknowns R·K/t of an output tile that are solved for at once.
  ///
  /// The normal equations and their triangular factor then take less than 0.5 GiB each.
  static let largestSystem = 10_240

  /// The linear encoding of W tiles, (c, b) → R planes, that is best for white inputs: G⁻¹ C, [R, t²].
  ///
  /// The R×R system is solved in `float64`, with a ridge at its rounding for algorithms whose planes
  /// depend on each other.
  func whiteEncoding(encoder: MLXArray, decoder: MLXArray) throws -> MLXArray {
    try Device.withDefaultDevice(.cpu) {
      let (u, d) = (encoder.asType(.float64), decoder.asType(.float64))
      let gram = matmul(u, u.transposed()) * matmul(d, d.transposed())
      let same = sameRow(Tables(weight: u, encoder: u, decoder: d))
      let solution = try NormalEquations.solve(gram, same, ridge: 1e-12).asType(.float32)
      try eval(solution)
      return solution
    }
  }

  /// A table of ``encoder`` as an array [R, t²], `float32`.
  func table(_ entries: [Double]) -> MLXArray { MLXArray(entries, [rank, tile * tile]) }
}
