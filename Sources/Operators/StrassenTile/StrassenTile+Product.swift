import Kernels
import MLX
import OrderedCollections

extension StrassenTile {
  /// Rows that have been encoded once, for any number of layers with the same encoder.
  public struct EncodedRows {
    /// φ [R, row tiles, K/t], or with more columns of zeros where the kernels made it.
    public let planes: MLXArray
    /// How rows were cut into tiles, and how results become rows again.
    let arrangement: Arrangement
    /// K of the rows.
    let inputs: Int
    /// The kernels that made it, if they did.
    let kernels: StrassenTileKernels?
  }

  /// How a row policy cuts rows into tiles.
  ///
  /// All policies are one view [O, t, P, K] of the padded rows, in which a tile is the t rows along
  /// the second axis: for tiles of consecutive rows P = 1, for tiles across samples P counts the
  /// rows of a sample.
  struct Arrangement: Hashable {
    /// The shape of X without its last axis.
    let leading: [Int]
    let tile: Int
    /// The rows as a matrix of rows: [samples, tokens], or [1, M] where all rows are one sample.
    let samples: Int
    let tokens: Int
    /// Rows of zeros after the last sample, or after the last token of each.
    let addedSamples: Int
    let addedTokens: Int

    init(_ shape: [Int], tile: Int, rows: RowPolicy) {
      leading = Array(shape.dropLast())
      self.tile = tile
      let count = leading.reduce(1, *)
      func missing(_ length: Int) -> Int { (tile - length % tile) % tile }
      switch rows {
      case .sequence:
        tokens = leading.last ?? 1
        samples = tokens == 0 ? 0 : count / tokens
        (addedSamples, addedTokens) = (0, missing(tokens))
      case .flat:
        (samples, tokens) = (1, count)
        (addedSamples, addedTokens) = (0, missing(count))
      case .batch:
        samples = leading.first ?? 1
        tokens = samples == 0 ? 0 : count / samples
        (addedSamples, addedTokens) = (missing(samples), 0)
      }
      tilesAreAcrossSamples = rows == .batch
    }

    let tilesAreAcrossSamples: Bool

    /// P of the view [O, t, P, K].
    private var inner: Int { tilesAreAcrossSamples ? tokens : 1 }

    /// The number of row tiles O·P.
    var tiles: Int { (samples + addedSamples) * (tokens + addedTokens) / tile }

    /// X → [t·t, O·P·K/t], a column for each tile.
    func columns(_ x: MLXArray, tilesOfRow count: Int) -> MLXArray {
      let inputs = x.dim(-1)
      let widths = [(0, addedSamples), (0, addedTokens), (0, count * tile - inputs)]
      var rows = x.reshaped(samples, tokens, inputs)
      if widths.contains(where: { $0.1 > 0 }) { rows = padded(rows, widths: widths) }
      return rows.reshaped(-1, tile, inner, count, tile)
        .transposed(1, 4, 0, 2, 3).reshaped(tile * tile, tiles * count)
    }

    /// X → [O·P, t·K], a row for each tile: its t rows one after the other.
    func stackedRows(_ x: MLXArray) -> MLXArray {
      let inputs = x.dim(-1)
      return padded(
        x.reshaped(samples, tokens, inputs), widths: [(0, addedSamples), (0, addedTokens), (0, 0)]
      ).reshaped(-1, tile, inner, inputs).transposed(0, 2, 1, 3).reshaped(tiles, tile * inputs)
    }

    /// [t·t, O·P·N/t] → Y, the inverse of ``columns(_:tilesOfRow:)`` without the padding.
    func rows(_ columns: MLXArray, tilesOfRow count: Int, outputs: Int) -> MLXArray {
      columns.reshaped(tile, tile, -1, inner, count)
        .transposed(2, 0, 3, 4, 1)
        .reshaped(samples + addedSamples, tokens + addedTokens, count * tile)[
          0..<samples, 0..<tokens, 0..<outputs
        ]
        .reshaped(leading + [outputs])
    }
  }

  /// X [..., K] → Y [..., N], in the type of X.
  ///
  /// Rows form tiles by ``rows``: `sequence` takes the axis before the last as tokens of one sample
  /// and pads each sample, so that samples do not depend on each other; `batch` takes the first axis
  /// as samples, so that a sample's result depends on its neighbours in the batch but a token's
  /// never on other tokens; `flat` takes all rows in order. The planes are stored in the type of X
  /// and summed as MLX sums products of that type.
  public func apply(_ x: MLXArray, _ parameters: Parameters) -> MLXArray {
    guard let encoder = parameters[Name.encoder] else { return missing(Name.encoder) }
    return apply(encode(x, encoder), parameters)
  }

  /// X [..., K] → the planes φ [R, row tiles, K/t] with an activation encoder [R, t²].
  ///
  /// Layers that read the same X with the same encoder and policy (Q, K and V; gate and up) encode
  /// once and pass the result to ``apply(_:_:)-(StrassenTile.EncodedRows,_)``.
  public func encode(_ x: MLXArray, _ encoder: MLXArray) -> EncodedRows {
    let arrangement = Arrangement(x.shape, tile: tile, rows: rows)
    func encoded(_ planes: MLXArray) -> EncodedRows {
      EncodedRows(planes: planes, arrangement: arrangement, inputs: x.dim(-1), kernels: nil)
    }
    if let failure = x.failure { return encoded(MLXArray(failure: failure)) }
    guard x.dim(-1) == inputs else {
      return encoded(failed("rows", [-1, inputs], x.shape))
    }
    guard encoder.shape == shapes[Name.encoder] || encoder.failure != nil else {
      return encoded(failed(Name.encoder, [rank, tile * tile], encoder.shape))
    }
    guard arrangement.tiles > 0 else {
      return encoded(MLXArray.zeros([rank, 0, inputTiles], dtype: x.dtype))
    }
    let columns = arrangement.columns(x, tilesOfRow: inputTiles)
    return encoded(
      matmul(encoder.asType(x.dtype), columns).reshaped(rank, arrangement.tiles, inputTiles))
  }

  /// The product of rows that were encoded before, [..., N].
  public func apply(_ rows: EncodedRows, _ parameters: Parameters) -> MLXArray {
    let arrangement = rows.arrangement
    guard rows.planes.failure == nil else { return rows.planes }
    let planes = rows.kernels == nil ? rows.planes : rows.planes[0..., 0..., 0..<inputTiles]
    guard let weight = parameters[Name.weight] else { return missing(Name.weight) }
    guard let decoder = parameters[Name.decoder] else { return missing(Name.decoder) }
    guard rows.inputs == inputs, planes.shape == [rank, arrangement.tiles, inputTiles] else {
      return failed("encoded rows", [rank, arrangement.tiles, inputTiles], planes.shape)
    }
    for (name, array) in [(Name.weight, weight), (Name.decoder, decoder)] {
      guard array.shape == shapes[name] || array.failure != nil else {
        return failed(name, shapes[name] ?? [], array.shape)
      }
    }
    guard arrangement.tiles > 0 else {
      return .zeros(arrangement.leading + [outputs], dtype: planes.dtype)
    }
    let products = matmul(planes, weight.asType(planes.dtype).swappedAxes(1, 2))
    let tiles = matmul(
      decoder.asType(planes.dtype).transposed(),
      products.reshaped(rank, arrangement.tiles * outputTiles))
    return arrangement.rows(tiles, tilesOfRow: outputTiles, outputs: outputs)
  }

  private func failed(_ what: String, _ expected: [Int], _ got: [Int]) -> MLXArray {
    MLXArray(
      failure: MLXError(
        StrassenTileError.shape(what, expected: expected, got: got).description))
  }

  private func missing(_ name: String) -> MLXArray {
    failed("a parameter \"\(name)\"", shapes[name] ?? [], [])
  }
}
