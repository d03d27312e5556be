import MLX

extension KroneckerShape {
  /// The shape of the same block-diagonal product (d = 1) in fewer blocks, with zeros beside the ones that are there.
  ///
  /// cuBLASLt's products are slow where the rows of a block are below 64 numbers or no whole lines of 128 bytes, and
  /// have arithmetic to spare: so many neighbours become one block as make up such rows, of up to 512 bytes. The product
  /// of 48 blocks of 48 × 48 in bfloat16 takes 0.072 ms instead of 0.094 (docs/log-gpu-factors.md). Exact float32 waits
  /// for its arithmetic. What is not finite in one of the neighbours reaches the others.
  func merged(elementSize: Int, allowsTF32: Bool) -> KroneckerShape {
    let (rows, columns) = (b * elementSize, c * elementSize)
    guard d == 1, allowsTF32 || elementSize < 4, max(rows, columns) < 256 else { return self }
    let count = [1, 2, 4, 8].first { count in
      a % count == 0 && min(b, c) * count >= 64 && max(rows, columns) * count <= 512
        && rows * count % 128 == 0 && columns * count % 128 == 0
    }
    return count.map { KroneckerShape(a / $0, b * $0, c * $0, 1) } ?? self
  }

  /// The weights [a, b, c, 1] of a product in those of the merged one, by one operation.
  func merge(_ w: MLXArray, into other: KroneckerShape) -> MLXArray {
    let count = a / other.a
    guard count > 1 else { return w }
    let own = (0..<count * count).map { $0 % (count + 1) == 0 }
    let zero = MLXArray(bytes: [UInt8](repeating: 0, count: w.dtype.size), [], dtype: w.dtype)
    return which(
      MLXArray(own, [1, count, 1, count, 1]), w.reshaped(other.a, count, b, 1, c), zero
    ).reshaped(other.a, other.b, other.c, 1)
  }
}

// Block-diagonal factors.
extension StridedProducts {
  /// x [M, a·c] and w [a, b, c, 1] → [M, a·b], batch first.
  public func product(_ x: MLXArray, _ w: MLXArray, _ shape: KroneckerShape) -> MLXArray {
    let merged = merged(shape)
    let function = CustomFunction(
      forward: { inputs in [blocks(inputs[0], inputs[1], merged)] },
      backward: { primals, cotangents, _ in
        [
          blockInputs(cotangents[0], primals[1], merged),
          blockWeights(primals[0], cotangents[0], merged),
        ]
      })
    return function([x, pack(w, shape)])[0]
  }

  /// w [a, b, c, 1] as ``launch(_:packed:_:)`` reads it.
  public func pack(_ w: MLXArray, _ shape: KroneckerShape) -> MLXArray {
    shape.merge(w.asType(dtype), into: merged(shape))
  }

  /// x [M, a·c] and a packed w → [M, a·b], without a gradient.
  public func launch(
    _ x: MLXArray, packed w: MLXArray, _ shape: KroneckerShape
  ) -> MLXArray {
    blocks(x, w, merged(shape))
  }

  private func merged(_ shape: KroneckerShape) -> KroneckerShape {
    shape.merged(elementSize: dtype.size, allowsTF32: allowsTF32)
  }

  /// x [M, a·c] → [M, a·b].
  func blocks(_ x: MLXArray, _ w: MLXArray, _ shape: KroneckerShape) -> MLXArray {
    let (a, b, c, rows) = (shape.a, shape.b, shape.c, x.dim(0))
    return multiply(
      StridedProduct(
        rows: rows, columns: b, inner: c, batch: a, a: .init(leading: a * c, batchStride: c),
        b: .init(leading: c, batchStride: b * c, isTransposed: true),
        result: .init(leading: a * b, batchStride: b)),
      x, w, shape: [rows, a * b])
  }

  /// The gradient [M, a·c] of x.
  func blockInputs(_ dy: MLXArray, _ w: MLXArray, _ shape: KroneckerShape) -> MLXArray {
    let (a, b, c, rows) = (shape.a, shape.b, shape.c, dy.dim(0))
    return multiply(
      StridedProduct(
        rows: rows, columns: c, inner: b, batch: a, a: .init(leading: a * b, batchStride: b),
        b: .init(leading: c, batchStride: b * c), result: .init(leading: a * c, batchStride: c)),
      dy, w, shape: [rows, a * c])
  }

  /// The gradient [a, b, c, 1] of w.
  func blockWeights(_ x: MLXArray, _ dy: MLXArray, _ shape: KroneckerShape) -> MLXArray {
    let (a, b, c, rows) = (shape.a, shape.b, shape.c, x.dim(0))
    return multiply(
      StridedProduct(
        rows: b, columns: c, inner: rows, batch: a,
        a: .init(leading: a * b, batchStride: b, isTransposed: true),
        b: .init(leading: a * c, batchStride: c), result: .init(leading: c, batchStride: b * c)),
      dy, x, shape: [a, b, c, 1])
  }

  // MARK: - Batch last

  /// w [a, b, c, d] as ``launchBatchLast(_:packed:_:)`` reads it: [a, d, b, c].
  public static func packBatchLast(_ w: MLXArray) -> MLXArray {
    contiguous(w.transposed(0, 3, 1, 2))
  }

  /// x [a·c·d, M] and packed weights → [a·b·d, M]: any pattern, without a gradient.
  ///
  /// Blocks (i, l) lie at (i c d + l) M: min(a, d) batches of what is more, of those with the same l or of those with
  /// the same i.
  public func launchBatchLast(
    _ x: MLXArray, packed w: MLXArray, _ shape: KroneckerShape
  ) -> MLXArray {
    let (a, b, c, d, columns) = (shape.a, shape.b, shape.c, shape.d, x.dim(1))
    func place(leading: Int, i: Int, l: Int) -> StridedProduct.Place {
      .init(leading: leading, batchStride: d < a ? i : l, outerStride: d < a ? l : i)
    }
    return multiply(
      StridedProduct(
        rows: b, columns: columns, inner: c, batch: max(a, d), outer: min(a, d),
        a: place(leading: c, i: d * b * c, l: b * c),
        b: place(leading: d * columns, i: c * d * columns, l: columns),
        result: place(leading: d * columns, i: b * d * columns, l: columns)),
      w.asType(dtype), x, shape: [a * b * d, columns])
  }
}
