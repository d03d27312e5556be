import CCPUKernels
import MLX

/// The Strassen-Tile product on the CPU, float32: products stay in cache.
///
/// A row costs what the operator's cost says, at the rate of a good matrix product; weights are packed
/// once for each 256 tile rows (AVX2).
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
      threads: Int32(threads), has_bias: 0, is_transposed: 0, activation: TESSERA_NO_ACTIVATION,
      has_gradient: 0, is_short: 0)
  }

  /// X [rows, K], weight [R, ⌈N/t⌉, ⌈K/t⌉], encoder and decoder [R, t²], bias [N] →
  /// activation(Y + bias) [rows, N].
  ///
  /// A transposed weight is stored as [R, ⌈K/t⌉, ⌈N/t⌉]. With `dy` [rows, N] the result is the gradient
  /// of what goes into the activation, where dy is that of what comes out. `isShort` rounds planes and
  /// weights to bfloat16; sums are of float32. The caller sees to shapes; all arrays are float32. There
  /// is no gradient.
  public func callAsFunction(
    _ x: MLXArray, weight: MLXArray, isTransposed: Bool = false, encoder: MLXArray,
    decoder: MLXArray, bias: MLXArray? = nil, activation: KernelActivation = .none,
    dy: MLXArray? = nil, isShort: Bool = false
  ) -> MLXArray {
    var problem = problem
    problem.has_bias = bias == nil ? 0 : 1
    problem.is_transposed = isTransposed ? 1 : 0
    problem.activation = activation.c
    problem.has_gradient = dy == nil ? 0 : 1
    problem.is_short = isShort ? 1 : 0
    let rows = Int(problem.rows.samples * problem.rows.tokens)
    return Self.kernel(
      problem, [x, weight, encoder, decoder] + [bias, dy].compactMap(\.self),
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

extension KernelActivation {
  var c: TesseraActivation {
    switch self {
    case .none: TESSERA_NO_ACTIVATION
    case .gelu: TESSERA_GELU
    case .geluTanh: TESSERA_GELU_TANH
    case .silu: TESSERA_SILU
    }
  }
}
