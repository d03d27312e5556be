import MLX
import OrderedCollections

/// Two block-diagonal factors of b blocks each with a transposition between them, for any
/// rectangular shape.
///
/// After Dao et al. 2022, arXiv 2204.00595. An input row is b pieces of ⌈K/b⌉ numbers, an output row b pieces of ⌈N/b⌉. The first factor
/// takes each input piece to b·R numbers, R for each output piece, with R = ⌈min(⌈K/b⌉, ⌈N/b⌉) / b⌉:
/// the inner dimension is that of the smaller side, rounded up so that every output piece reads
/// every input piece. It is the Block Tensor-Train with in = ⌈K/b⌉ x b, out = b x ⌈N/b⌉ and rank R.
public struct Monarch: CoreProduct {
  /// K, the length of an input row.
  public let inputs: Int
  /// N, the length of an output row.
  public let outputs: Int
  /// b, the blocks of each factor.
  public let blocks: Int

  /// Makes the operator; throws unless 1 ≤ b ≤ min(K, N) and no block lies wholly in padding.
  public init(inputs: Int, outputs: Int, blocks: Int) throws(SpecError) {
    (self.inputs, self.outputs, self.blocks) = (inputs, outputs, blocks)
    guard blocks >= 1, blocks <= min(inputs, outputs) else {
      throw SpecError(
        "[spec] expected 1 to \(min(inputs, outputs)) blocks in '\(spec)' for \(inputs) inputs "
          + "and \(outputs) outputs, got \(blocks).")
    }
    for size in [inputs, outputs] where (blocks - 1) * Self.piece(size, blocks) >= size {
      let piece = Self.piece(size, blocks)
      throw SpecError(
        "[spec] expected every block of '\(spec)' to hold some of \(size) numbers, got a block "
          + "of padding only; write blocks=\((size + piece - 1) / piece), say.")
    }
  }

  private static func piece(_ size: Int, _ blocks: Int) -> Int { (size + blocks - 1) / blocks }

  /// `monarch:blocks=b`.
  public var spec: OperatorSpec { .monarch(blocks: blocks) }

  var pair: BlockPair {
    let (m0, n1) = (Self.piece(inputs, blocks), Self.piece(outputs, blocks))
    return BlockPair(
      inputs: inputs, outputs: outputs, m0: m0, m1: blocks, n0: blocks, n1: n1,
      rank: Self.piece(min(m0, n1), blocks))
  }

  /// `core0` [b, ⌈K/b⌉, b·R] and `core1` [b, b·R, ⌈N/b⌉].
  public var cores: [Core] { pair.cores }

  /// b²·R·(⌈K/b⌉ + ⌈N/b⌉) multiply-adds a row; 2 d²/b where both sizes are d and b² divides d.
  public var cost: Cost { pair.cost }

  /// X [..., K] → Y [..., N].
  public func apply(_ x: MLXArray, _ parameters: Parameters) -> MLXArray {
    let cores = cores.map { parameter($0.name, of: parameters) }
    return onRows(x) { pair.product($0, count: $1, cores[0], cores[1]) }
  }

  /// W [N, K], whose b × b blocks have rank R.
  public func dense(_ parameters: Parameters) -> MLXArray? {
    pair.dense(parameter("core0", of: parameters), parameter("core1", of: parameters))
  }

  /// The singular value decomposition of each block, cut off at rank R: the optimum in the plain
  /// norm; from there by alternating least squares in the norm of the data.
  public func fit(_ target: FitTarget) throws -> Parameters {
    let fitted = try pair.fit(try target.checked(for: self))
    return ["core0": fitted.core0, "core1": fitted.core1]
  }
}
