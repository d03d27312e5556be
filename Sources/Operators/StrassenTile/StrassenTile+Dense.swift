import MLX
import OrderedCollections

extension StrassenTile {
  /// The dense weight [N, K] with the same product, or `nil` where there is none.
  ///
  /// There is one iff no row of a tile reaches another (``rowMixing(_:)`` is rounding): the algorithm
  /// is exact *and* the weight is an encoded one. A weight trained freely under an exact algorithm
  /// mixes rows too, as R numbers for t² weights say more than the weights.
  ///
  /// Cost: about R²·N·K/t² multiply-adds, evaluated at once.
  public func dense(_ parameters: Parameters) -> MLXArray? {
    let weight = leastSquaresDense(parameters)
    guard weight.failure == nil, let mixing = try? rowMixing(parameters) else { return nil }
    let unit = parameters.values.reduce(DType.float32.unitRoundoff) {
      max($0, $1.dtype.unitRoundoff)
    }
    return mixing <= Self.roundingsOfExactness * unit ? weight : nil
  }

  /// The roundings of the parameters' type that an exact algorithm may show as mixing of rows.
  ///
  /// The entries of a residual tile are sums of R products that cancel.
  static let roundingsOfExactness = 32.0

  /// The dense weight [N, K] nearest to the layer for white inputs, `float32`.
  ///
  /// It minimises E‖Y − X Ŵᵀ‖² over independent inputs of mean zero and equal variance. It is the
  /// layer's own weight where ``dense(_:)`` exists, and otherwise leaves out all that passes from a
  /// row to another and all that differs between the rows of a tile:
  ///
  ///     Ŵ[jt + c, lt + b] = 1/t Σ_p w[p, j, l] Σ_a D[p, at + c] U[p, at + b]
  public func leastSquaresDense(_ parameters: Parameters) -> MLXArray {
    let tables: Tables
    do {
      tables = try Tables(self, parameters)
    } catch {
      return MLXArray(failure: MLXError("\(error)"))
    }
    let tiles = matmul(
      sameRow(tables).transposed(), tables.weight.reshaped(rank, outputTiles * inputTiles))
    return
      (tiles / tile).reshaped(tile, tile, outputTiles, inputTiles).transposed(2, 0, 3, 1)
      .reshaped(outputTiles * tile, inputTiles * tile)[0..<outputs, 0..<inputs]
  }

  /// How much of the response is not a dense layer's: ‖M − I ⊗ Ŵ‖ / ‖M‖, 0 to 1.
  ///
  /// M [t·N, t·K] is the matrix that the layer is on t stacked rows, Ŵ the nearest dense weight. For
  /// white inputs the square of this is the share of the output's energy.
  public func rowMixing(_ parameters: Parameters) throws -> Double {
    let tables = try Tables(self, parameters)
    let weight = tables.weight.reshaped(rank, outputTiles * inputTiles)
    // Column p is plane p's matrix D_p ⊗ U_p on a tile, [(a, c), (a', b)]; a product with the dense
    // part removed has its energy in the same R coordinates, so only the triangles of two QR
    // factorisations meet the weight.
    let planes = pairs(tables)
    let same = sameRow(tables).reshaped(rank, 1, tile, 1, tile)
    let dense = (same * MLXArray.eye(tile).reshaped(1, tile, 1, tile, 1) / tile)
      .reshaped(rank, tile * tile * tile * tile)
    func energy(_ matrices: MLXArray) throws -> Double {
      let (_, triangle) = MLXLinalg.qr(matrices.transposed())
      return Double(try norm(matmul(triangle, weight)).item(Float.self))
    }
    let whole = try energy(planes)
    return whole > 0 ? try energy(planes - dense) / whole : 0
  }

  /// The matrices D_p ⊗ U_p of the planes on a tile, [R, (a, c, a', b)].
  func pairs(_ tables: Tables) -> MLXArray {
    (tables.decoder.reshaped(rank, tile * tile, 1) * tables.encoder.reshaped(rank, 1, tile * tile))
      .reshaped(rank, tile * tile * tile * tile)
  }

  /// Σ_a D[p, at + c] U[p, at + b], what plane p carries from a row to itself, [R, (c, b)].
  func sameRow(_ tables: Tables) -> MLXArray {
    matmul(
      tables.decoder.reshaped(rank, tile, tile).swappedAxes(1, 2),
      tables.encoder.reshaped(rank, tile, tile)
    ).reshaped(rank, tile * tile)
  }

  /// The parameters in `float32`, their shapes checked.
  struct Tables {
    /// w [R, N/t, K/t].
    var weight: MLXArray
    /// U [R, t²].
    var encoder: MLXArray
    /// D [R, t²].
    var decoder: MLXArray

    init(weight: MLXArray, encoder: MLXArray, decoder: MLXArray) {
      self.weight = weight
      self.encoder = encoder
      self.decoder = decoder
    }

    init(_ layer: StrassenTile, _ parameters: Parameters) throws {
      func array(_ name: String) throws -> MLXArray {
        let expected = layer.shapes[name] ?? []
        let array = parameters[name]
        if let failure = array?.failure { throw failure }
        guard let array, array.shape == expected else {
          throw StrassenTileError.shape(name, expected: expected, got: array?.shape ?? [])
        }
        return array.asType(.float32)
      }
      self.init(
        weight: try array(Name.weight), encoder: try array(Name.encoder),
        decoder: try array(Name.decoder))
    }

    var parameters: Parameters {
      [Name.weight: weight, Name.encoder: encoder, Name.decoder: decoder]
    }
  }
}
