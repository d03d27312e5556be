import CMLX

/// A batch of matrix products whose operands and results lie anywhere in their arrays, on a GPU, by
/// cuBLASLt: nothing is copied first, as `matmul` does with what is not contiguous.
///
/// There is no gradient: give the operation one with ``CustomFunction``.
public struct StridedProduct: Sendable, Hashable {
  /// Where a matrix of each product lies, in elements.
  public struct Place: Sendable, Hashable {
    /// The first element.
    public var offset: Int
    /// From row to row; from column to column where it is transposed.
    public var leading: Int
    /// From product to product, and from batch to batch.
    public var batchStride: Int, outerStride: Int
    /// Whether rows are adjacent in memory, not columns.
    public var isTransposed: Bool

    /// Describes a place.
    public init(
      leading: Int, batchStride: Int = 0, outerStride: Int = 0, offset: Int = 0,
      isTransposed: Bool = false
    ) {
      self.offset = offset
      self.leading = leading
      self.batchStride = batchStride
      self.outerStride = outerStride
      self.isTransposed = isTransposed
    }

    fileprivate var c: CMLXStrided {
      CMLXStrided(
        offset: Int64(offset), leading: Int64(leading), batch_stride: Int64(batchStride),
        outer_stride: Int64(outerStride), transposed: isTransposed)
    }
  }

  /// The result has `rows` and `columns`, the sums go over `inner`.
  public var rows: Int, columns: Int, inner: Int
  /// Products in a batch, and batches.
  public var batch: Int, outer: Int
  /// The operands, and the result, which is not transposed.
  public var a: Place, b: Place, result: Place
  /// Whether float32 operands may be rounded to TF32.
  public var allowsTF32: Bool

  /// Describes a batch of products.
  public init(
    rows: Int, columns: Int, inner: Int, batch: Int = 1, outer: Int = 1, a: Place, b: Place,
    result: Place, allowsTF32: Bool = true
  ) {
    (self.rows, self.columns, self.inner) = (rows, columns, inner)
    (self.batch, self.outer) = (batch, outer)
    (self.a, self.b, self.result) = (a, b, result)
    self.allowsTF32 = allowsTF32
  }

  /// Throws why this machine cannot do it, if it cannot: no GPU, no CUDA build of MLX, no cuBLASLt.
  public static func check() throws {
    if let error = MLXError(consuming: cmlx_strided_product_check()) { throw error }
  }

  /// The products of `a` and `b` in an array of a shape and type, of which the rest is not initialised.
  ///
  /// cuBLASLt may use up to `workspace` bytes besides.
  public func callAsFunction(
    _ a: MLXArray, _ b: MLXArray, shape: [Int], dtype: DType, workspace: Int
  ) -> MLXArray {
    var product = CMLXStridedProduct(
      rows: Int64(rows), columns: Int64(columns), inner: Int64(inner), batch: Int64(batch),
      outer: Int64(outer), a: self.a.c, b: self.b.c, out: result.c, allows_tf32: allowsTF32,
      workspace: Int64(workspace))
    return MLXArray.running([a, b], shape: shape, dtype: dtype) { out, handles, result in
      cmlx_strided_product(&out, &product, handles[0], handles[1], result)
    }
  }
}
