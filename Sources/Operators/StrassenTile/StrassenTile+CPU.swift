import Kernels
import MLX
import OrderedCollections

extension StrassenTile {
  /// What the CPU's kernel, composed operations and a dense product are expected to take.
  func choiceOnCPU(shape: [Int], dtype: DType, keepsDense: Bool) -> ProductChoice {
    guard CPUModel.types.contains(dtype) else {
      return ProductChoice(.reference, because: CPUModel.typesSentence)
    }
    let tiles = Arrangement(shape, tile: tile, rows: rows).tiles
    guard tiles > 0 else { return ProductChoice(.reference, because: "there are no rows") }
    let model = CPUModel()
    let area = Double(tile * tile)
    let (k, n, r) = (Double(inputTiles), Double(outputTiles), Double(rank))
    return ProductChoice.onCPU(
      kernels: model.strassenTile(
        tiles: tiles, tile: tile, inputTiles: inputTiles, outputTiles: outputTiles, rank: rank,
        type: dtype),
      reference: model.composed(
        multiplyAdds: Double(tiles) * r * (k * n + area * (k + n)), weights: r * k * n,
        bytes: 8 * Double(tiles) * (area + r) * (k + n), type: dtype),
      dense: model.dense(
        rows: shape.dropLast().reduce(1, *), inputs: inputs, outputs: outputs, type: dtype),
      keepsDense: keepsDense)
  }

  /// Rows [M, K] → activation(Y + bias) [M, N], float32, by the CPU's kernel; `nil` where it does not do it.
  ///
  /// `isShort` rounds planes to bfloat16, as the definition does for rows of that type.
  ///
  /// With φ the planes of X and ψ those of dY by the decoder, both [R, tiles, ·]:
  /// dX is the same kernel with the weight transposed and encoder and decoder exchanged,
  /// dW[r] = ψ[r]ᵀ φ[r], dE[r] = Σ (ψ[r] W[r]) · X's tiles and dD[r] = Σ (φ[r] W[r]ᵀ) · dY's tiles.
  func productOnCPU(
    _ x: MLXArray, weight: MLXArray, encoder: MLXArray, decoder: MLXArray, bias: MLXArray?,
    activation: KernelActivation, isShort: Bool, _ arrangement: Arrangement
  ) -> MLXArray? {
    let tileRows = arrangement.tileRows
    guard
      let forward = StrassenTileCPU(
        inputs: inputs, outputs: outputs, tile: tile, rank: rank, rows: tileRows),
      let backward = StrassenTileCPU(
        inputs: outputs, outputs: inputs, tile: tile, rank: rank, rows: tileRows)
    else { return nil }
    let (tiles, rank, inputTiles, outputTiles) = (
      arrangement.tiles, rank, inputTiles, outputTiles
    )
    let function = CustomFunction(
      forward: { inputs in
        [
          forward(
            inputs[0], weight: inputs[1], encoder: inputs[2], decoder: inputs[3],
            bias: inputs.count > 4 ? inputs[4] : nil, activation: activation,
            isShort: isShort)
        ]
      },
      backward: { primals, cotangents, _ in
        let (x, weight, encoder, decoder) = (primals[0], primals[1], primals[2], primals[3])
        let bias = primals.count > 4 ? primals[4] : nil
        // The product again, for the activation's derivative where it is written.
        let dy =
          activation == .none
          ? cotangents[0]
          : forward(
            x, weight: weight, encoder: encoder, decoder: decoder, bias: bias,
            activation: activation, dy: cotangents[0], isShort: isShort)
        let planes = forward.encoded(x, encoder, tiles: tiles)
        let gradients = backward.encoded(dy, decoder, tiles: tiles)
        // Nothing here is computed unless it is asked for.
        let ofEncoder = matmul(
          matmul(gradients, weight).reshaped(rank, -1),
          arrangement.columns(x, tilesOfRow: inputTiles).transposed())
        let ofDecoder = matmul(
          matmul(planes, weight.swappedAxes(1, 2)).reshaped(rank, -1),
          arrangement.columns(dy, tilesOfRow: outputTiles).transposed())
        let all = [
          backward(
            dy, weight: weight, isTransposed: true, encoder: decoder, decoder: encoder,
            isShort: isShort),
          matmul(gradients.swappedAxes(1, 2), planes), ofEncoder, ofDecoder,
        ]
        return bias == nil ? all : all + [sum(dy, axis: 0)]
      })
    return function([x, weight, encoder, decoder] + [bias].compactMap(\.self))[0]
  }
}
