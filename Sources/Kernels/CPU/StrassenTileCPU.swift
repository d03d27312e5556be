import CCPUKernels
import MLX

/// The Strassen-Tile product on the CPU, float32: planes and products stay in cache.
///
/// A row costs what the operator's cost says, at about the rate of a good matrix product; weights are
/// read once for each block of up to 64 tile rows (AVX2).
public struct StrassenTileCPU: Sendable {
  private static let kernel = HostKernel("strassen_tile") {
    tessera_strassen_tile($0, $1, $2, $3)
  }
  private static let encode = HostKernel("strassen_tile_encode") {
    tessera_strassen_tile_encode($0, $1, $2, $3)
  }

  private var problem: TesseraStrassenTile

  /// A product of K inputs and N outputs, tiles of side t, rank R.
  ///
  /// `nil` where the kernel does not do it: tiles of more than 8, or nothing to compute.
  public init?(
    inputs: Int, outputs: Int, tile: Int, rank: Int, rows: TileRows, level: CPU.Level = CPU.level,
    threads: Int = CPU.threads
  ) {
    guard (1...TESSERA_LARGEST_TILE).contains(tile), inputs > 0, outputs > 0, rank > 0,
      rows.rows > 0, (1...64).contains(threads)
    else { return nil }
    problem = TesseraStrassenTile(
      rows: TesseraRowTiles(
        samples: Int64(rows.samples), tokens: Int64(rows.length), tile: Int32(tile),
        across_samples: rows.acrossSamples ? 1 : 0),
      inputs: Int64(inputs), outputs: Int64(outputs), rank: Int64(rank), level: level.c,
      threads: Int32(threads), has_bias: 0)
  }

  /// X [rows, K], weight [R, ⌈N/t⌉, ⌈K/t⌉], encoder and decoder [R, t²], bias [N] → Y [rows, N].
  ///
  /// The caller sees to shapes; all arrays are float32. There is no gradient.
  public func callAsFunction(
    _ x: MLXArray, weight: MLXArray, encoder: MLXArray, decoder: MLXArray, bias: MLXArray? = nil
  ) -> MLXArray {
    var problem = problem
    problem.has_bias = bias == nil ? 0 : 1
    let rows = Int(problem.rows.samples * problem.rows.tokens)
    return Self.kernel(
      problem, [x, weight, encoder, decoder] + [bias].compactMap(\.self),
      output: [rows, Int(problem.outputs)], scratch: tessera_strassen_tile_scratch(&problem))
  }

  /// X [rows, K], encoder [R, t²] → the planes [R, tiles, ⌈K/t⌉], where the rows form so many tiles.
  public func encoded(_ x: MLXArray, _ encoder: MLXArray, tiles: Int) -> MLXArray {
    var problem = problem
    let (tile, inputs) = (Int(problem.rows.tile), Int(problem.inputs))
    return Self.encode(
      problem, [x, encoder],
      output: [Int(problem.rank), tiles, (inputs + tile - 1) / tile],
      scratch: tessera_strassen_tile_encode_scratch(&problem))
  }
}
