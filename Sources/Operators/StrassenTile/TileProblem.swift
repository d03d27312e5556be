import Encoders
import MLX

/// The least squares problem that a fit of a Strassen-Tile layer is, on tiles of t stacked rows.
///
/// On stacked rows x ∈ R^{tK} the dense layer is I ⊗ W [t·N, t·K] and the Strassen-Tile layer is M,
/// in tiles M_jl = Σ_p w[p, j, l] D_p ⊗ U_p. The error is tr(Δ S Δᵀ) with Δ = I ⊗ W − M and the
/// second moment S of x; it is quadratic in each of weight, decoder and encoder. Each step solves
/// for a change of one of them from the gradient, which needs only Q = Δ S. Where t does not divide N
/// the steps ask zeros of the padding outputs, so that all output tiles share one matrix.
struct TileProblem {
  /// The second moment of t stacked rows of inputs, padded to whole tiles.
  enum Moment {
    /// S = I.
    case white
    /// S = I ⊗ H, with H [K, K].
    case independent(MLXArray)
    /// S [t·K, t·K].
    case stacked(MLXArray)
  }

  let layer: StrassenTile
  /// W [N, K], padded to whole tiles.
  let weight: MLXArray
  let moment: Moment
  /// The unknowns of an output tile that are solved for at once.
  var largestSystem = StrassenTile.largestSystem

  var t: Int { layer.tile }
  var rank: Int { layer.rank }
  var inputTiles: Int { layer.inputTiles }
  var outputTiles: Int { layer.outputTiles }
  /// K, padded.
  var inputs: Int { layer.inputTiles * layer.tile }

  init(_ layer: StrassenTile, _ target: FitTarget) throws {
    self.layer = layer
    let (t, n, k) = (layer.tile, layer.outputs, layer.inputs)
    func checked(_ array: MLXArray, _ what: String, _ expected: [Int]) throws -> MLXArray {
      if let failure = array.failure { throw failure }
      guard array.shape == expected else {
        throw StrassenTileError.shape(what, expected: expected, got: array.shape)
      }
      guard try isFinite(array).all().item(Bool.self) else {
        throw StrassenTileError.notFinite(what)
      }
      return array.asType(.float32)
    }
    let missing = layer.inputTiles * t - k
    weight = padded(
      try checked(target.weight, "a weight", [n, k]),
      widths: [(0, layer.outputTiles * t - n), (0, missing)])
    if let stacked = target.tileMoment {
      let moment = try checked(stacked, "a tile moment", [t * k, t * k])
      self.moment = .stacked(
        padded(
          moment.reshaped(t, k, t, k), widths: [(0, 0), (0, missing), (0, 0), (0, missing)]
        ).reshaped(t * (k + missing), t * (k + missing)))
    } else if let second = target.secondMoment {
      let moment = try checked(second, "a second moment", [k, k])
      self.moment = .independent(padded(moment, widths: [(0, missing), (0, missing)]))
    } else {
      moment = .white
    }
  }

  /// The layer's own encoder and decoder with the best weight for them.
  func start() throws -> StrassenTile.Tables {
    var tables = StrassenTile.Tables(
      weight: .zeros([rank, outputTiles, inputTiles]),
      encoder: layer.table(layer.encoder.activation), decoder: layer.table(layer.encoder.decoder))
    tables.weight = try whiteWeight(tables)
    if case .white = moment {} else { try improveWeight(&tables) }
    return tables
  }

  /// Refits decoder, encoder and weight in turn.
  func alternate(_ tables: inout StrassenTile.Tables, times: Int) throws {
    for _ in 0..<times {
      try improveDecoder(&tables)
      try improveEncoder(&tables)
      try improveWeight(&tables)
    }
  }

  // MARK: - The error

  /// Groups of output tiles that keep Δ at about 2²⁶ elements.
  var outputGroups: [Range<Int>] {
    ranges(outputTiles, at: (1 << 26) / (t * t * t * inputs))
  }

  /// `count` places in groups of at most `size`, and at least one.
  func ranges(_ count: Int, at size: Int) -> [Range<Int>] {
    let size = max(1, size)
    return Swift.stride(from: 0, to: count, by: size).map { $0..<min(count, $0 + size) }
  }

  /// The rows of I ⊗ W that a group of output tiles has, [t·n·t, t·K] with rows (a, j, c).
  func dense(_ outputs: Range<Int>) -> MLXArray {
    let rows = weight[outputs.lowerBound * t..<outputs.upperBound * t]
    let blocks =
      MLXArray.eye(t).reshaped(t, 1, t, 1) * rows.reshaped(1, outputs.count * t, 1, inputs)
    return blocks.reshaped(t * outputs.count * t, t * inputs)
  }

  /// The rows of M that a group of output tiles has, [t·n·t, t·K] with rows (a, j, c).
  func stacked(_ tables: StrassenTile.Tables, _ outputs: Range<Int>) -> MLXArray {
    matmul(
      layer.pairs(tables).transposed(),
      tables.weight[0..., outputs].reshaped(rank, outputs.count * inputTiles)
    )
    .reshaped(t, t, t, t, outputs.count, inputTiles)
    .transposed(0, 4, 1, 2, 5, 3).reshaped(t * outputs.count * t, t * inputs)
  }

  /// Δ S restricted to a group of input tiles, [rows, t, group, t].
  func weighted(_ rows: MLXArray, _ group: Range<Int>) -> MLXArray {
    let shape = [rows.dim(0), t, group.count, t]
    switch moment {
    case .white:
      return rows.reshaped(-1, t, inputTiles, t)[0..., 0..., group]
    case .independent(let h):
      let columns = h[0..., group.lowerBound * t..<group.upperBound * t]
      return matmul(rows.reshaped(-1, inputs), columns).reshaped(shape)
    case .stacked(let s):
      let columns = s.reshaped(t * inputs, t, inputTiles, t)[0..., 0..., group]
      return matmul(rows, columns.reshaped(t * inputs, t * group.count * t)).reshaped(shape)
    }
  }

  /// E‖Y − Ŷ‖² and E‖Y‖² of a tile of rows, without the outputs that are only padding.
  func energies(_ tables: StrassenTile.Tables) throws -> (error: Double, energy: Double) {
    var error = 0.0
    for group in outputGroups {
      let kept = min(group.count * t, layer.outputs - group.lowerBound * t)
      let difference = (dense(group) - stacked(tables, group))
        .reshaped(t, group.count * t, t * inputs)[0..., 0..<kept].reshaped(-1, t * inputs)
      let weighted = weighted(difference, 0..<inputTiles).reshaped(-1, t * inputs)
      error += Double(try (difference * weighted).sum().item(Float.self))
    }
    let rows: MLXArray
    switch moment {
    case .white: rows = MLXArray.eye(inputs) * t
    case .independent(let h): rows = h * t
    case .stacked(let s):
      rows = diagonal(s.reshaped(t, inputs, t, inputs), axis1: 0, axis2: 2).sum(axis: -1)
    }
    let energy = (weight * matmul(weight, rows)).sum()
    return (max(0, error), Double(try energy.item(Float.self)))
  }

  /// Q = Δ S for all output tiles and a group of input tiles, as tiles [(a, c, a', b'), N/t, group].
  func residual(_ tables: StrassenTile.Tables, _ group: Range<Int>) throws -> MLXArray {
    let parts = try outputGroups.map { outputs in
      let part = weighted(dense(outputs) - stacked(tables, outputs), group)
        .reshaped(t, outputs.count, t, t, group.count, t)
        .transposed(0, 2, 3, 5, 1, 4).reshaped(t * t * t * t, outputs.count, group.count)
      try eval(part)
      return part
    }
    return parts.count == 1 ? parts[0] : concatenated(parts, axis: 1)
  }

  // MARK: - The weight

  /// How often each group of input tiles takes its turn.
  static let sweeps = 3

  /// The best weight for white inputs; see ``StrassenTile/fit(_:alternations:)``.
  func whiteWeight(_ tables: StrassenTile.Tables) throws -> MLXArray {
    let encoding = try layer.whiteEncoding(encoder: tables.encoder, decoder: tables.decoder)
    let tiles = weight.reshaped(outputTiles, t, inputTiles, t).transposed(1, 3, 0, 2)
      .reshaped(t * t, outputTiles * inputTiles)
    let encoded = matmul(encoding, tiles).reshaped(rank, outputTiles, inputTiles)
    try eval(encoded)
    return encoded
  }

  /// Replaces the weight by the best one for the moment.
  ///
  /// All output tiles share the normal equations in (plane, input tile),
  ///
  ///     N[(p, l), (p', l')] = (D Dᵀ)[p, p'] Φ[(p, l), (p', l')],   Φ = E[φ φᵀ],
  ///
  /// and the right-hand side is the gradient E[φ[p, l] ⟨D_p, y_j − ŷ_j⟩]. The ridge pulls towards
  /// the weight that was there, so a step never raises the error. Above ``largestSystem`` unknowns,
  /// groups of input tiles take turns, ``sweeps`` times.
  func improveWeight(_ tables: inout StrassenTile.Tables) throws {
    if case .white = moment {
      tables.weight = try whiteWeight(tables)
      return
    }
    let groups = ranges(inputTiles, at: largestSystem / rank)
    for _ in 0..<(groups.count == 1 ? 1 : TileProblem.sweeps) {
      for group in groups {
        let gradient = matmul(
          layer.pairs(tables),
          try residual(tables, group).reshaped(t * t * t * t, outputTiles * group.count)
        ).reshaped(rank, outputTiles, group.count).swappedAxes(1, 2)
        let change = try NormalEquations.solve(
          normalMatrix(tables, group), gradient.reshaped(rank * group.count, outputTiles)
        ).reshaped(rank, group.count, outputTiles).swappedAxes(1, 2)
        tables.weight =
          tables.weight
          + padded(
            change, widths: [(0, 0), (0, 0), (group.lowerBound, inputTiles - group.upperBound)])
        try eval(tables.weight)
      }
    }
  }

  /// (D Dᵀ) ∘ Φ of a group of input tiles, [R·group, R·group].
  private func normalMatrix(_ tables: StrassenTile.Tables, _ group: Range<Int>) -> MLXArray {
    let (u, d, n) = (tables.encoder, tables.decoder, group.count)
    let decoding = matmul(d, d.transposed()).reshaped(rank, 1, rank, 1)
    let second: MLXArray
    switch moment {
    case .white:
      second =
        matmul(u, u.transposed()).reshaped(rank, 1, rank, 1)
        * MLXArray.eye(n).reshaped(1, n, 1, n)
    case .independent(let h):
      // Σ_a U[p, ab] U[p', ab'] for all b, b', against the tiles of H.
      let byRow = u.reshaped(rank, t, t).transposed(0, 2, 1).reshaped(rank * t, t)
      let pairs = matmul(byRow, byRow.transposed()).reshaped(rank, t, rank, t)
        .transposed(0, 2, 1, 3).reshaped(rank * rank, t * t)
      let tiles = h.reshaped(inputTiles, t, inputTiles, t)[group, 0..., group]
        .transposed(1, 3, 0, 2).reshaped(t * t, n * n)
      second = matmul(pairs, tiles).reshaped(rank, rank, n, n).transposed(0, 2, 1, 3)
    case .stacked(let s):
      let tiles = s.reshaped(t, inputTiles, t, t, inputTiles, t)[0..., group, 0..., 0..., group]
        .transposed(0, 2, 1, 4, 3, 5).reshaped(t * t, n * n * t * t)
      second = matmul(matmul(u, tiles).reshaped(rank * n * n, t * t), u.transposed())
        .reshaped(rank, n, n, rank).transposed(0, 1, 3, 2)
    }
    return (second * decoding).reshaped(rank * n, rank * n)
  }

  // MARK: - Decoder and encoder

  /// Replaces the decoder by the best one for the moment, weight and encoder as they are.
  ///
  /// The normal equations are Σ_j E[z_j z_jᵀ] [R, R], the same for each of the t² columns of D.
  func improveDecoder(_ tables: inout StrassenTile.Tables) throws {
    let pull = try pulled(tables)
    // z[p, j] as a row of numbers on stacked inputs: w[p, j, l] U[p, a'b'].
    var normal = MLXArray.zeros([rank, rank])
    for group in outputGroups {
      let n = group.count
      let features =
        (tables.weight[0..., group].reshaped(rank, n, 1, inputTiles, 1)
        * tables.encoder.reshaped(rank, 1, t, 1, t)).reshaped(rank * n, t * inputs)
      normal =
        normal
        + matmul(
          features.reshaped(rank, n * t * inputs),
          weighted(features, 0..<inputTiles).reshaped(rank, n * t * inputs).transposed())
      try eval(normal)
    }
    // Σ over (a', b') of U and the pulled residual, [R, (a, c)].
    let gradient = (pull * tables.encoder.reshaped(rank, 1, t * t)).sum(axis: 2)
    tables.decoder =
      tables.decoder + (try NormalEquations.solve(normal, gradient))
    try eval(tables.decoder)
  }

  /// Replaces the encoder by the best one for the moment, weight and decoder as they are.
  ///
  /// The normal equations have R·t² unknowns:
  /// N[(p, ab), (p', a'b')] = (D Dᵀ)[p, p'] Σ_jll' w[p, j, l] w[p', j, l'] S[(a, l, b), (a', l', b')].
  /// The sum over l comes first, for it alone meets all of S: R·N·K²·t multiply-adds, where the sums
  /// over j first would take R²·K²·t².
  func improveEncoder(_ tables: inout StrassenTile.Tables) throws {
    let area = t * t
    let moments = momentTiles().reshaped(inputTiles, inputTiles, area * area)
      .transposed(0, 2, 1).reshaped(inputTiles, area * area * inputTiles)
    let right = tables.weight.transposed(1, 2, 0).reshaped(outputTiles * inputTiles, rank)
    let planes = ranges(rank, at: (1 << 26) / (outputTiles * area * area * inputTiles))
    let sums = try planes.map { group in
      let left = tables.weight[group].reshaped(group.count * outputTiles, inputTiles)
      let met = matmul(left, moments)
        .reshaped(group.count, outputTiles, area * area, inputTiles).transposed(0, 2, 1, 3)
      let part = matmul(
        met.reshaped(group.count * area * area, outputTiles * inputTiles), right)
      try eval(part)
      return part.reshaped(group.count, area, area, rank)
    }
    let decoding = matmul(tables.decoder, tables.decoder.transposed())
    let normal =
      (concatenated(sums).transposed(0, 1, 3, 2) * decoding.reshaped(rank, 1, rank, 1))
      .reshaped(rank * area, rank * area)
    let gradient = (try pulled(tables) * tables.decoder.reshaped(rank, area, 1)).sum(axis: 1)
    let change = try NormalEquations.solve(
      normal, gradient.reshaped(rank * area, 1))
    tables.encoder = tables.encoder + change.reshaped(rank, area)
    try eval(tables.encoder)
  }

  /// Σ_jl w[p, j, l] Q[(a, c, a', b'), j, l], [R, (a, c), (a', b')]: the residual as the decoder and
  /// the encoder feel it.
  private func pulled(_ tables: StrassenTile.Tables) throws -> MLXArray {
    matmul(
      tables.weight.reshaped(rank, outputTiles * inputTiles),
      try residual(tables, 0..<inputTiles)
        .reshaped(t * t * t * t, outputTiles * inputTiles).transposed()
    ).reshaped(rank, t * t, t * t)
  }

  /// S as [(l, l'), (ab, a'b')].
  private func momentTiles() -> MLXArray {
    let (n, area) = (inputTiles, t * t)
    switch moment {
    case .white:
      return MLXArray.eye(n).reshaped(n * n, 1) * MLXArray.eye(area).reshaped(1, area * area)
    case .independent(let h):
      let tiles = h.reshaped(n, t, n, t).transposed(0, 2, 1, 3)
      return
        (tiles.reshaped(n * n, 1, t, 1, t) * MLXArray.eye(t).reshaped(1, t, 1, t, 1))
        .reshaped(n * n, area * area)
    case .stacked(let s):
      return s.reshaped(t, n, t, t, n, t).transposed(1, 4, 0, 2, 3, 5)
        .reshaped(n * n, area * area)
    }
  }
}
