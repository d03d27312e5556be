import Encoders
import MLX

/// What ``approximateMatmul(_:_:encoder:randomization:)`` does to its operands before it encodes them.
public enum ProductRandomization: Hashable, Sendable {
  /// Nothing: the error depends on how the operands lie to the tiles.
  case none
  /// Random signs and random permutations of the rows of A, the columns of B and the shared index,
  /// undone in the result, from a seed.
  ///
  /// Over the seeds the result is unbiased whatever the operands, E Ĉ = A·B, and its squared error
  /// depends on three norms of theirs only: ``/Encoders/RandomizedError``. Being unbiased raises the
  /// error e of a least squares encoder to e / (1 − e). The cost is a sign and a gather for every
  /// element of A, B and C, six more passes over memory that a fused kernel would hide.
  case signsAndPermutations(seed: UInt64)
}

/// A·B for two matrices neither of which is a weight, by an algorithm of R products a pair of tiles.
///
/// A [..., M, K] and B [..., K, N] with the same leading axes → [..., M, N], in the type of A. Sizes
/// that do not divide by the tile are padded with zeros. Both operands are encoded here, so the
/// multiply-adds are R/t³ + R/N + R/K + R/M of the dense product's
/// (``/Encoders/Encoder/costRatio(rows:inputs:outputs:)``).
///
/// Without randomisation the relative squared error ‖A·B − Ĉ‖² / ‖A·B‖² is the encoder's
/// (``/Encoders/Encoder/error``) in expectation for isotropic operands, and near it otherwise as far
/// as they are nearly isotropic. *Bound.* Let A and B be independent, let the tiles of one of them be
/// uncorrelated with mean zero along K, and let the second moments E[vec vecᵀ] of all tiles have
/// eigenvalues in [α, α′] for A and [β, β′] for B. Then
///
///     e / κ ≤ E‖A·B − Ĉ‖² / E‖A·B‖² ≤ e κ,      κ = (α′/α) (β′/β).
///
/// *Proof.* Products of different inner tiles do not correlate, so the numerator is a sum over tile
/// pairs of ⟨G_F, S_A ⊗ S_B⟩, where G_F[(a, b), (a′, b′)] = Σ_c F[a, b, c] F[a′, b′, c] is positive
/// semi-definite and F the residual T − Σ u⊗v⊗w; the denominator is the same with T for F. The inner
/// product of positive semi-definite matrices is monotone in each, and
/// αβ I ≼ S_A ⊗ S_B ≼ α′β′ I, so the numerator lies between αβ and α′β′ times t³ e for each pair and
/// the denominator between αβ and α′β′ times t³. For κ = 1 they agree. ``tileCondition(_:tile:)``
/// measures α′/α.
///
/// The result is a failed array if the shapes do not fit, or if the encoder carries nothing of a
/// product and so cannot be made unbiased.
public func approximateMatmul(
  _ a: MLXArray, _ b: MLXArray, encoder: Encoder, randomization: ProductRandomization = .none
) -> MLXArray {
  if let failure = a.failure ?? b.failure { return MLXArray(failure: failure) }
  guard a.ndim >= 2, a.ndim == b.ndim, a.shape.dropLast(2) == b.shape.dropLast(2),
    a.dim(-1) == b.dim(-2)
  else {
    return MLXArray(
      failure: MLXError(
        "[approximateMatmul] expected matrices [..., M, K] and [..., K, N] with the same leading "
          + "axes, got \(a.shape) and \(b.shape)."))
  }
  let leading = Array(a.shape.dropLast(2))
  let (m, k, n) = (a.dim(-2), a.dim(-1), b.dim(-1))
  let count = leading.reduce(1, *)
  guard count * m * n * k > 0 else { return .zeros(leading + [m, n], dtype: a.dtype) }
  let product = TileProduct(encoder: encoder, rows: m, inner: k, columns: n)
  let (left, right) = (product.paddedLeft(a, count), product.paddedRight(b.asType(a.dtype), count))
  let result: MLXArray
  switch randomization {
  case .none:
    result = product.multiply(left, right, encoder)
  case .signsAndPermutations(let seed):
    guard let unbiased = encoder.unbiased else {
      return MLXArray(
        failure: MLXError(
          "[approximateMatmul] expected an encoder that carries some of a product, got \(encoder); "
            + "use another one."))
    }
    let keys = MLXRandom.split(key: MLXRandom.key(seed), into: 3)
    let (row, inner, column) = (
      Shuffle(left.dim(1), key: keys[0]), Shuffle(left.dim(2), key: keys[1]),
      Shuffle(right.dim(2), key: keys[2])
    )
    let shuffled = product.multiply(
      inner.applied(to: row.applied(to: left, axis: 1), axis: 2),
      column.applied(to: inner.applied(to: right, axis: 1), axis: 2), unbiased)
    result = column.undone(in: row.undone(in: shuffled, axis: 1), axis: 2)
  }
  return result[0..., ..<m, ..<n].reshaped(leading + [m, n])
}

/// λ_max / λ_min of the second moment of the t×t tiles of a matrix [..., M, K]: 1 for an isotropic one,
/// infinite if the tiles fill fewer than t² dimensions.
///
/// Rows and columns beyond whole tiles are left out. Cost: M·K·t² multiply-adds.
public func tileCondition(_ a: MLXArray, tile: Int) throws -> Double {
  if let failure = a.failure { throw failure }
  guard a.ndim >= 2, tile > 0, a.dim(-2) >= tile, a.dim(-1) >= tile else {
    throw FitError(
      "[tileCondition] expected a matrix of at least one \(tile)x\(tile) tile, got \(a.shape).")
  }
  let (rows, columns) = (a.dim(-2) / tile, a.dim(-1) / tile)
  return try Device.withDefaultDevice(.cpu) {
    let tiles = a.asType(.float64).reshaped([-1, a.dim(-2), a.dim(-1)])[
      0..., ..<(rows * tile), ..<(columns * tile)
    ].reshaped([-1, rows, tile, columns, tile]).transposed(2, 4, 0, 1, 3).reshaped(tile * tile, -1)
    let (values, _) = MLXLinalg.eigh(matmul(tiles, tiles.transposed()))
    let found = try values.asArray(Double.self)
    guard let least = found.min(), let largest = found.max() else { return .infinity }
    // Rounding leaves eigenvalues that are zero on either side of it.
    return least > 1e-12 * largest ? largest / least : .infinity
  }
}

/// The expected relative squared error of a randomised product: (E‖A·B − Ĉ‖² / ‖A·B‖²) over seeds.
///
/// Exact for the given A [M, K] and B [K, N] (``/Encoders/Encoder/randomizedError(rows:inner:columns:)``
/// of the unbiased encoder). It needs ‖A·B‖, so it costs the dense product.
public func expectedRandomizedError(
  _ a: MLXArray, _ b: MLXArray, encoder: Encoder
) throws -> Double {
  guard let unbiased = encoder.unbiased, a.ndim == 2, b.ndim == 2 else {
    throw FitError(
      "[expectedRandomizedError] expected two matrices and an encoder that carries some of a "
        + "product, got \(a.shape), \(b.shape) and \(encoder).")
  }
  let (x, y) = (a.asType(.float32), b.asType(.float32))
  let (columns, rows) = (sum(square(x), axis: 0), sum(square(y), axis: 1))
  func value(_ array: MLXArray) throws -> Double { Double(try array.item(Float.self)) }
  let product = try value(sum(square(matmul(x, y))))
  let law = unbiased.randomizedError(rows: a.dim(0), inner: a.dim(1), columns: b.dim(1))
  return law.expected(
    product: product, operands: try value(sum(columns)) * value(sum(rows)),
    terms: try value(sum(columns * rows))) / product
}

/// Signs and a permutation of the places along an axis.
private struct Shuffle {
  let order: MLXArray
  let signs: MLXArray

  init(_ count: Int, key: MLXArray) {
    let keys = MLXRandom.split(key: key)
    order = MLXRandom.permutation(count, key: keys.0)
    signs = MLXRandom.bernoulli(0.5, [count], key: keys.1).asType(.float32) * 2 - 1
  }

  private func signs(along axis: Int, of x: MLXArray) -> MLXArray {
    signs.asType(x.dtype).reshaped(axis == 1 ? [1, -1, 1] : [1, 1, -1])
  }

  func applied(to x: MLXArray, axis: Int) -> MLXArray {
    take(x * signs(along: axis, of: x), order, axis: axis)
  }

  func undone(in x: MLXArray, axis: Int) -> MLXArray {
    take(x, argSort(order), axis: axis) * signs(along: axis, of: x)
  }
}

/// The tiling of a product of [M, K] by [K, N].
private struct TileProduct {
  let tile: Int
  let rank: Int
  let (rows, inner, columns): (Int, Int, Int)

  init(encoder: Encoder, rows: Int, inner: Int, columns: Int) {
    tile = encoder.tile
    rank = encoder.rank
    func tiles(_ size: Int) -> Int { (size + encoder.tile - 1) / encoder.tile }
    (self.rows, self.inner, self.columns) = (tiles(rows), tiles(inner), tiles(columns))
  }

  func paddedLeft(_ a: MLXArray, _ count: Int) -> MLXArray { whole(a, count, rows, inner) }

  func paddedRight(_ b: MLXArray, _ count: Int) -> MLXArray { whole(b, count, inner, columns) }

  private func whole(_ x: MLXArray, _ count: Int, _ height: Int, _ width: Int) -> MLXArray {
    let missing = (height * tile - x.dim(-2), width * tile - x.dim(-1))
    let x = x.reshaped([count, x.dim(-2), x.dim(-1)])
    return missing == (0, 0) ? x : padded(x, widths: [(0, 0), (0, missing.0), (0, missing.1)])
  }

  /// [B, M′, K′] by [B, K′, N′] → [B, M′, N′].
  func multiply(_ a: MLXArray, _ b: MLXArray, _ encoder: Encoder) -> MLXArray {
    let count = a.dim(0)
    func table(_ entries: [Double]) -> MLXArray {
      MLXArray(entries, [rank, tile * tile]).asType(a.dtype)
    }
    func planes(_ x: MLXArray, _ height: Int, _ width: Int, by entries: [Double]) -> MLXArray {
      let tiles = x.reshaped(count, height, tile, width, tile).transposed(2, 4, 0, 1, 3)
        .reshaped(tile * tile, count * height * width)
      return matmul(table(entries), tiles).reshaped(rank, count, height, width)
    }
    let products = matmul(
      planes(a, rows, inner, by: encoder.activation),
      planes(b, inner, columns, by: encoder.weight))
    return matmul(
      table(encoder.decoder).transposed(), products.reshaped(rank, count * rows * columns)
    ).reshaped(tile, tile, count, rows, columns).transposed(2, 3, 0, 4, 1)
      .reshaped(count, rows * tile, columns * tile)
  }
}
