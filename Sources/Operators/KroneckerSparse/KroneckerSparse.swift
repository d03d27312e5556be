import MLX
import OrderedCollections

/// A product of Kronecker-sparse factors: W = K_L ⋯ K_1, each with the support I_a ⊗ 1_{b×c} ⊗ I_d
/// of its pattern (a, b, c, d).
///
/// After Gonon et al. 2025, arXiv 2405.15013.
/// A factor's weight is w [a, b, c, d], and its matrix [a·b·d, a·c·d] has
/// K[i·b·d + j·d + l, i·c·d + k·d + l] = w[i, j, k, l]. Dense, block-diagonal, low-rank, Monarch and
/// butterfly matrices are all such products.
public struct KroneckerSparse: CoreProduct {
  /// K, the length of an input row.
  public let inputs: Int
  /// N, the length of an output row.
  public let outputs: Int
  /// The factors' patterns, the first applied first.
  public let patterns: [KroneckerPattern]

  /// Makes the operator.
  ///
  /// Throws where a pattern's inputs are not the outputs of the one before, or the ends do not fit
  /// K and N.
  public init(inputs: Int, outputs: Int, patterns: [KroneckerPattern]) throws(SpecError) {
    (self.inputs, self.outputs, self.patterns) = (inputs, outputs, patterns)
    for pattern in patterns where !pattern.isOfUsableSize {
      throw SpecError(
        "[spec] expected patterns of positive integers with at most \(OperatorSpec.largestSize) "
          + "numbers each, got \(pattern) in '\(spec)'.")
    }
    guard let first = patterns.first, let last = patterns.last else {
      throw SpecError("[spec] expected a pattern AxBxCxD after 'ks:', got none.")
    }
    for (one, next) in zip(patterns, patterns.dropFirst()) where one.outputs != next.inputs {
      throw SpecError(
        "[spec] expected the inputs A·C·D of \(next) to be the outputs A·B·D = \(one.outputs) of "
          + "\(one) before it, got \(next.inputs) in '\(spec)'.")
    }
    for (name, size, reached) in [
      ("inputs A·C·D of \(first)", inputs, first.inputs),
      ("outputs A·B·D of \(last)", outputs, last.outputs),
    ] where reached < size || reached / 2 >= size {
      throw SpecError(
        "[spec] expected the \(name) to be the layer's \(size), or a little more, which is "
          + "padded, got \(reached) in '\(spec)'.")
    }
  }

  /// `ks:AxBxCxD+…`.
  public var spec: OperatorSpec { .kroneckerSparse(patterns) }

  /// `factor0` [a, b, c, d], the first applied, and so on.
  public var cores: [Core] {
    patterns.enumerated().map { index, pattern in
      Core(
        name: "factor\(index)", shape: [pattern.a, pattern.b, pattern.c, pattern.d],
        fanIn: pattern.c, fanOut: pattern.b)
    }
  }

  /// Σ a·b·c·d multiply-adds a row, as many as parameters.
  public var cost: Cost {
    let count = patterns.reduce(0) { $0 + $1.nonZeros }
    return Cost(
      parameters: count, multiplyAdds: Double(count),
      intermediates: patterns.dropLast().reduce(0) { $0 + Double($1.outputs) })
  }

  /// X [..., K] → Y [..., N], factor by factor.
  public func apply(_ x: MLXArray, _ parameters: Parameters) -> MLXArray {
    let weights = cores.map { parameter($0.name, of: parameters) }
    return onRows(x) { rows, count in
      let start = paddedColumns(rows, to: patterns[0].inputs)
      let end = zip(patterns, weights).reduce(start) { y, factor in
        factor.0.product(y, count: count, factor.1)
      }
      return end[0..., 0..<outputs]
    }
  }

  /// The product of the factors' matrices [N, K].
  public func dense(_ parameters: Parameters) -> MLXArray? {
    let matrices = zip(patterns, cores).map { pattern, core in
      pattern.matrix(parameter(core.name, of: parameters))
    }
    let whole = matrices.dropFirst().reduce(matrices[0]) { matmul($1, $0) }
    return whole[0..<outputs, 0..<inputs]
  }
}

extension KroneckerPattern {
  /// Whether all four are positive and neither the matrix's sides nor the numbers overflow what
  /// MLX can index.
  var isOfUsableSize: Bool {
    var count = 1
    for size in [a, b, c, d] {
      let (product, overflow) = count.multipliedReportingOverflow(by: size)
      guard size > 0, !overflow, product <= OperatorSpec.largestSize else { return false }
      count = product
    }
    return true
  }

  /// Rows [M, a·c·d] → [M, a·b·d]: for each i and l a dense product with w[i, ·, ·, l].
  func product(_ rows: MLXArray, count: Int, _ weight: MLXArray) -> MLXArray {
    // With a = 1 the permutations, and those of the gradient, are plain transpositions of [M·c, d] and
    // [M·b, d], which MLX on CUDA does not launch from 65536 blocks of 256 bytes on.
    let most = max(1, (1 << 24) / rows.dtype.size / max(b, c))
    guard a == 1, d > 1, count > most else { return permuted(rows, count: count, weight) }
    let starts = Array(stride(from: 0, to: count, by: most))
    return concatenated(
      starts.map { start in
        let end = min(count, start + most)
        return permuted(rows[start..<end], count: end - start, weight)
      }, axis: 0)
  }

  private func permuted(_ rows: MLXArray, count: Int, _ weight: MLXArray) -> MLXArray {
    let gathered = rows.reshaped([count, a, c, d]).transposed(1, 3, 0, 2)
    return matmul(gathered, weight.transposed(0, 3, 2, 1))
      .transposed(2, 0, 3, 1).reshaped([count, outputs])
  }

  /// The matrix [a·b·d, a·c·d]: w[i, j, k, l] δ(i, i') δ(l, l') at ((i, j, l), (i', k, l')).
  public func matrix(_ weight: MLXArray) -> MLXArray {
    let outer = MLXArray.eye(a, dtype: weight.dtype).reshaped([a, 1, 1, a, 1, 1])
    let inner = MLXArray.eye(d, dtype: weight.dtype).reshaped([1, 1, d, 1, 1, d])
    let entries = weight.transposed(0, 1, 3, 2).reshaped([a, b, d, 1, c, 1])
    return (entries * outer * inner).reshaped([outputs, inputs])
  }
}
