import MLX
import RealModule

/// Factors a matrix into a chain of Kronecker-sparse factors by splitting off one at a time, the
/// last one first.
///
/// After Zheng, Riccietti and Gribonval 2023, arXiv 2110.01230, and Le et al. 2024, arXiv
/// 2411.04506. One split is W ≈ K M with K a Kronecker-sparse factor and M the rest of the chain, whose support
/// is known. Inner index ρ contributes a matrix of rank one on (the rows of K's column ρ) × (the
/// columns of M's row ρ). The rows of two columns of K are the same or disjoint, so the blocks of
/// different ρ are the same, where their columns are too, or disjoint as long as the columns are the
/// same or disjoint: a truncated singular value decomposition of each block is then the optimum.
/// Two factors always meet this; a longer chain does if it is "chainable". Where columns overlap
/// partly, the split is only a start for least squares.
///
/// K takes the orthonormal left vectors and M the rest, so that the error of the later splits is
/// not magnified. In the end the factors share the norm evenly.
struct HierarchicalFactorization {
  let patterns: [KroneckerPattern]

  /// The factors' weights [a, b, c, d], the first applied first.
  func factors(of weight: MLXArray) throws -> [MLXArray] {
    let supports = chainSupports()
    var rest = weight
    var weights: [MLXArray] = []
    for index in patterns.indices.reversed().dropLast() {
      let split = try split(rest, patterns[index], columns: supports[index - 1])
      weights.insert(split.factor, at: 0)
      rest = split.rest
    }
    weights.insert(project(rest, patterns[0]), at: 0)
    return try balanced(weights)
  }

  /// For each factor, the columns of W that each row of the product up to it can reach.
  private func chainSupports() -> [[[Int]]] {
    var supports: [[[Int]]] = []
    for pattern in patterns {
      let (a, b, c, d) = (pattern.a, pattern.b, pattern.c, pattern.d)
      var rows = [[Int]](repeating: [], count: pattern.outputs)
      for i in 0..<a {
        for l in 0..<d {
          let own = (0..<c).map { i * c * d + $0 * d + l }
          // The rows j < b of a block share their columns.
          let reached = supports.last.map { before in
            Set(own.flatMap { before[$0] }).sorted()
          }
          for j in 0..<b { rows[i * b * d + j * d + l] = reached ?? own }
        }
      }
      supports.append(rows)
    }
    return supports
  }

  /// The rows and columns of one block, and the inner indices that share it.
  private struct Block {
    var i: Int
    var l: Int
    var inner: [Int]
    var columns: [Int]
  }

  private func split(
    _ weight: MLXArray, _ pattern: KroneckerPattern, columns supports: [[Int]]
  ) throws -> (factor: MLXArray, rest: MLXArray) {
    let (a, b, c, d) = (pattern.a, pattern.b, pattern.c, pattern.d)
    // Blocks of one size are decomposed together.
    var batches: [[Int]: [Block]] = [:]
    for i in 0..<a {
      for l in 0..<d {
        var inner: [[Int]: [Int]] = [:]
        for k in 0..<c { inner[supports[i * c * d + k * d + l], default: []].append(k) }
        for (columns, ks) in inner {
          batches[[columns.count, ks.count], default: []].append(
            Block(i: i, l: l, inner: ks, columns: columns))
        }
      }
    }
    var factor = [Float](repeating: 0, count: pattern.nonZeros)
    var rest = [Float](repeating: 0, count: pattern.inputs * weight.dim(1))
    let width = weight.dim(1)
    for (size, blocks) in batches {
      let (height, breadth, terms) = (b, size[0], size[1])
      let indices = blocks.flatMap { block in
        (0..<b).flatMap { j in
          let row = block.i * b * d + j * d + block.l
          return block.columns.map { Int32(row * width + $0) }
        }
      }
      let gathered = take(
        weight.reshaped([-1]), MLXArray(indices, [blocks.count, height, breadth]), axis: 0)
      let (u, s, v) = MLXLinalg.svd(gathered)
      let rank = min(terms, height, breadth)
      let left = try u[0..., 0..., 0..<rank].asArray(Float.self)
      let right = try (s[0..., 0..<rank].expandedDimensions(axis: 2) * v[0..., 0..<rank])
        .asArray(Float.self)
      for (number, block) in blocks.enumerated() {
        for (term, k) in block.inner.prefix(rank).enumerated() {
          for j in 0..<b {
            factor[((block.i * b + j) * c + k) * d + block.l] =
              left[(number * b + j) * rank + term]
          }
          let row = block.i * c * d + k * d + block.l
          for (place, column) in block.columns.enumerated() {
            rest[row * width + column] = right[(number * rank + term) * breadth + place]
          }
        }
      }
    }
    return (MLXArray(factor, [a, b, c, d]), MLXArray(rest, [pattern.inputs, width]))
  }

  /// The entries of a matrix [a·b·d, a·c·d] on the support of a pattern, as w [a, b, c, d].
  private func project(_ matrix: MLXArray, _ pattern: KroneckerPattern) -> MLXArray {
    let (a, b, c, d) = (pattern.a, pattern.b, pattern.c, pattern.d)
    let entries = matrix.reshaped([a, b, d, a, c, d])
    let diagonalBlocks = diagonal(entries, axis1: 0, axis2: 3)  // [b, d, c, d, a]
    return diagonal(diagonalBlocks, axis1: 1, axis2: 3).transposed(2, 0, 1, 3)
  }

  /// The same product with factors of equal norm.
  private func balanced(_ weights: [MLXArray]) throws -> [MLXArray] {
    let norms = try weights.map {
      Double(try sum(square($0)).item(Float.self)).squareRoot()
    }
    guard norms.allSatisfy({ $0 > 0 }) else { return weights }
    let mean = Double.exp(norms.reduce(0) { $0 + Double.log($1) } / Double(norms.count))
    let result = zip(weights, norms).map { contiguous($0 * (mean / $1)) }
    try eval(result)
    return result
  }
}
