import MLX

/// Block-diagonal products as batches of matrix products in place, by cuBLASLt: nothing is copied.
///
/// Any size, any type of bfloat16, float16 and float32 (through TF32 unless told otherwise).
public struct StridedProducts: Sendable {
  /// The element type.
  public let dtype: DType
  /// Whether float32 may round its operands to TF32.
  public let allowsTF32: Bool

  /// Throws, with the reason, where this machine cannot do it.
  public static func named(
    dtype: DType, allowsTF32: Bool
  ) throws(KernelError) -> StridedProducts {
    guard dtype.kernelElement != nil else {
      throw KernelError(
        "strided products are for bfloat16, float16 and float32, not \(dtype.rawValue)")
    }
    do { try StridedProduct.check() } catch { throw KernelError("\(error)") }
    return StridedProducts(dtype: dtype, allowsTF32: allowsTF32)
  }

  /// In as much memory besides as cuBLASLt's makers advise on Hopper, less where no sum is long.
  func multiply(
    _ product: StridedProduct, _ a: MLXArray, _ b: MLXArray, shape: [Int]
  ) -> MLXArray {
    var product = product
    product.allowsTF32 = allowsTF32
    let workspace = product.inner > 2048 ? 32 << 20 : 4 << 20
    return product(a, b, shape: shape, dtype: dtype, workspace: workspace)
  }

  // MARK: - Pairs

  /// x [M, m1·m0], core 0 [m1, m0, n0·R], core 1 [n0, m1·R, n1] → y [M, n0·n1], all of one type.
  ///
  /// The intermediate is kept batch last, Z [m1, R, n0, M], so that both products and all four of the
  /// gradients read and write their operands where they lie (kronecker-sparse.md, A10). For the
  /// backward pass x is kept and Z computed again.
  public func product(
    _ x: MLXArray, _ core0: MLXArray, _ core1: MLXArray, _ shape: PairShape
  ) -> MLXArray {
    let s = shape
    let function = CustomFunction(
      forward: { inputs in
        let z = intermediate(inputs[0], inputs[1], s)
        return [output(z, inputs[2], s, rows: inputs[0].dim(0))]
      },
      backward: { primals, cotangents, _ in
        gradients(primals[0], primals[1], primals[2], cotangents[0], s)
      })
    return function([x, pack(core0, s), core1.asType(dtype)])[0]
  }

  /// Core 0 as the products read it: numbers of one output piece side by side would be far apart in Z.
  public func pack(_ core0: MLXArray, _ s: PairShape) -> MLXArray {
    guard s.rank > 1, s.n0 > 1 else { return core0.asType(dtype) }
    return contiguous(
      core0.asType(dtype).reshaped(s.m1, s.m0, s.n0, s.rank).transposed(0, 1, 3, 2)
        .reshaped(s.m1, s.m0, s.rank * s.n0))
  }

  /// The product of a packed core 0, without a gradient.
  public func launch(
    _ x: MLXArray, packed core0: MLXArray, _ core1: MLXArray, _ shape: PairShape
  ) -> MLXArray {
    output(intermediate(x, core0, shape), core1, shape, rows: x.dim(0))
  }

  /// The row length of Z: M rounded up to 16 bytes.
  private func pitch(_ rows: Int) -> Int { roundUp(rows, 16 / dtype.size) }

  /// Z [m1, R·n0, pitch].
  private func intermediate(_ x: MLXArray, _ core0: MLXArray, _ s: PairShape) -> MLXArray {
    let (rows, inner) = (x.dim(0), s.rank * s.n0)
    let pitch = pitch(rows)
    return multiply(
      StridedProduct(
        rows: inner, columns: rows, inner: s.m0, batch: s.m1,
        a: .init(leading: inner, batchStride: s.m0 * inner, isTransposed: true),
        b: .init(leading: s.inputs, batchStride: s.m0, isTransposed: true),
        result: .init(leading: pitch, batchStride: inner * pitch)),
      core0, x, shape: [s.m1, inner, pitch])
  }

  private func output(
    _ z: MLXArray, _ core1: MLXArray, _ s: PairShape, rows: Int
  ) -> MLXArray {
    let (pitch, inner) = (z.dim(2), s.m1 * s.rank)
    return multiply(
      StridedProduct(
        rows: rows, columns: s.n1, inner: inner, batch: s.n0,
        a: .init(leading: s.n0 * pitch, batchStride: pitch, isTransposed: true),
        b: .init(leading: s.n1, batchStride: inner * s.n1),
        result: .init(leading: s.outputs, batchStride: s.n1)),
      z, core1, shape: [rows, s.outputs])
  }

  private func gradients(
    _ x: MLXArray, _ core0: MLXArray, _ core1: MLXArray, _ dy: MLXArray, _ s: PairShape
  ) -> [MLXArray] {
    let rows = x.dim(0)
    let (inner0, inner1, pitch) = (s.rank * s.n0, s.m1 * s.rank, pitch(rows))
    let z = intermediate(x, core0, s)
    let dz = multiply(
      StridedProduct(
        rows: inner1, columns: rows, inner: s.n1, batch: s.n0,
        a: .init(leading: s.n1, batchStride: inner1 * s.n1),
        b: .init(leading: s.outputs, batchStride: s.n1, isTransposed: true),
        result: .init(leading: s.n0 * pitch, batchStride: pitch)),
      core1, dy, shape: [s.m1, inner0, pitch])
    let dx = multiply(
      StridedProduct(
        rows: rows, columns: s.m0, inner: inner0, batch: s.m1,
        a: .init(leading: pitch, batchStride: inner0 * pitch, isTransposed: true),
        b: .init(leading: inner0, batchStride: s.m0 * inner0, isTransposed: true),
        result: .init(leading: s.inputs, batchStride: s.m0)),
      dz, core0, shape: [rows, s.inputs])
    let dcore0 = multiply(
      StridedProduct(
        rows: s.m0, columns: inner0, inner: rows, batch: s.m1,
        a: .init(leading: s.inputs, batchStride: s.m0, isTransposed: true),
        b: .init(leading: pitch, batchStride: inner0 * pitch, isTransposed: true),
        result: .init(leading: inner0, batchStride: s.m0 * inner0)),
      x, dz, shape: [s.m1, s.m0, inner0])
    let dcore1 = multiply(
      StridedProduct(
        rows: inner1, columns: s.n1, inner: rows, batch: s.n0,
        a: .init(leading: s.n0 * pitch, batchStride: pitch),
        b: .init(leading: s.outputs, batchStride: s.n1),
        result: .init(leading: s.n1, batchStride: inner1 * s.n1)),
      z, dy, shape: [s.n0, inner1, s.n1])
    return [dx, dcore0, dcore1]
  }
}
