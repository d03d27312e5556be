import MLX

/// Two block-diagonal factors with a transposition between them: what Block Tensor-Train and
/// Monarch compute.
///
/// An input row is m1 pieces of m0 numbers, an output row is n0 pieces of n1. Core 0 [m1, m0, n0·R]
/// takes every input piece to R numbers for each output piece; core 1 [n0, m1·R, n1] gathers, for
/// each output piece, those of all input pieces:
///
///     z[i, j, ρ] = Σ_p x[i, p] · core0[i, p, (j, ρ)]
///     y[j, q]    = Σ_{i, ρ} z[i, j, ρ] · core1[j, (i, ρ), q]
///
/// So the block (j, i) of W, [n1, m0], is any matrix of rank R, and the blocks share nothing: the
/// best approximation of a matrix is the truncated singular value decomposition of each block.
///
/// As Kronecker-sparse factors these are the patterns (m1, n0·R, m0, 1) and (1, n1, m1·R, n0), up
/// to the order of the output and of the inner index.
struct BlockPair: Hashable, Sendable {
  /// K and N before padding.
  var inputs: Int
  var outputs: Int
  /// m0, the length of an input piece, and m1, their number.
  var m0: Int
  var m1: Int
  /// n0, the number of output pieces, and n1, their length.
  var n0: Int
  var n1: Int
  /// R, the rank of a block.
  var rank: Int

  /// `core0` [m1, m0, n0·R] and `core1` [n0, m1·R, n1].
  var cores: [Core] {
    [
      Core(name: "core0", shape: [m1, m0, n0 * rank], fanIn: m0, fanOut: n0 * rank),
      Core(name: "core1", shape: [n0, m1 * rank, n1], fanIn: m1 * rank, fanOut: n1),
    ]
  }

  /// R·m1·n0·(m0 + n1) parameters, each used once a row.
  var cost: Cost {
    let count = rank * m1 * n0 * (m0 + n1)
    return Cost(
      parameters: count, multiplyAdds: Double(count), intermediates: Double(rank * m1 * n0))
  }

  /// Rows [M, K] → [M, N].
  func product(_ rows: MLXArray, count: Int, _ core0: MLXArray, _ core1: MLXArray) -> MLXArray {
    let pieces = paddedColumns(rows, to: m0 * m1).reshaped([count, m1, m0])
    let inner = matmul(pieces.transposed(1, 0, 2), core0)
      .reshaped([m1, count, n0, rank]).transposed(2, 1, 0, 3)
      .reshaped([n0, count, m1 * rank])
    let padded = matmul(inner, core1).transposed(1, 0, 2).reshaped([count, n0 * n1])
    return n0 * n1 > outputs ? padded[0..., 0..<outputs] : padded
  }

  /// W [N, K] from its blocks.
  func dense(_ core0: MLXArray, _ core1: MLXArray) -> MLXArray {
    let blocks = einsum(
      "ipjr,jirq->jqip", core0.reshaped([m1, m0, n0, rank]),
      core1.reshaped([n0, m1, rank, n1]))
    return blocks.reshaped([n0 * n1, m1 * m0])[0..<outputs, 0..<inputs]
  }
}
