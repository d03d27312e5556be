import MLX

/// One Kronecker-sparse factor, batch first, as a block-diagonal one between two turns: in every row the
/// small matrices [c, d] become [d, c], a·d blocks multiply in place, [d, b] become [b, d].
///
/// Any pattern, any type of bfloat16, float16 and float32. Moves x and y three times, whatever their sizes.
public struct TurnedProducts: Sendable {
  /// The pattern.
  public let shape: KroneckerShape
  private let kernels: FactorKernels
  private let products: StridedProducts
  private var isExact: Bool { kernels.dtype.isExact(allowsTF32: products.allowsTF32) }

  /// Throws, with the reason, where this machine cannot do it.
  public static func named(
    _ shape: KroneckerShape, dtype: DType, allowsTF32: Bool
  ) throws(KernelError) -> TurnedProducts {
    let (a, b, c, d, size) = (shape.a, shape.b, shape.c, shape.d, dtype.size)
    guard a * d <= 65_535,
      [(c, d), (d, b), (b, d), (d, c)].allSatisfy({
        Turn(groups: a, p: $0.0, q: $0.1, size: size).tiles <= 65_535
      })
    else { throw KernelError("\(shape) has more blocks than one launch takes") }
    return TurnedProducts(
      shape: shape, kernels: try FactorKernels(dtype: dtype, minimumMajor: 8, takesFloat32: true),
      products: try .named(dtype: dtype, allowsTF32: allowsTF32))
  }

  /// The compilations of the product of so many rows, with `gradients` those of its gradients too.
  public static func variants(
    _ shape: KroneckerShape, rows: Int, dtype: DType, allowsTF32: Bool, gpu: GPU,
    epilogue: FactorEpilogue = .init(), gradients: Bool = false
  ) -> [KernelVariant] {
    guard let element = dtype.kernelElement else { return [] }
    let products =
      dtype.isExact(allowsTF32: allowsTF32)
      ? KroneckerGroupsKernels.variants(
        shape.turned, rows: rows, dtype: dtype, allowsTF32: false, gpu: gpu, gradients: gradients)
      : []
    let (a, b, c, d) = (shape.a, shape.b, shape.c, shape.d)
    let forward = [(p: c, q: d, epilogue: FactorEpilogue()), (d, b, epilogue)]
    let back = [(p: d, q: b, epilogue: FactorEpilogue()), (b, d, .init()), (d, c, .init())]
    return products
      + (forward + (gradients ? back : [])).map { p, q, epilogue in
        FactorKernels.variant(
          "Turn", "factor_turn",
          Turn(groups: a, p: p, q: q, size: dtype.size).options(epilogue), element: element)
      }
  }

  /// What multiplies blocks between the turns: exactly, matrix units are faster than the plain multiply-adds of
  /// cuBLASLt.
  private var groups: KroneckerGroupsKernels? {
    isExact && shape.d > 1 ? try? .named(shape.turned, dtype: .float32, allowsTF32: false) : nil
  }

  /// The weights [a, b, c, d] as the product of so many rows reads them, of [a·d, b, c, 1].
  public func pack(_ w: MLXArray, rows: Int) throws(KernelError) -> MLXArray {
    let blocks = blocks(w)
    return try groups?.pack(blocks, rows: rows) ?? blocks
  }

  /// The weights [a, b, c, d] as those of the factor between the turns, [a·d, b, c, 1].
  private func blocks(_ w: MLXArray) -> MLXArray {
    let turned = shape.turned
    return contiguous(
      w.asType(kernels.dtype).transposed(0, 3, 1, 2).reshaped(turned.a, turned.b, turned.c, 1))
  }

  /// x [M, groups · p · q] → epilogue(y) [M, groups · q · p].
  private func turn(
    _ x: MLXArray, p: Int, q: Int, _ epilogue: FactorEpilogue = .init()
  ) throws(KernelError) -> MLXArray {
    let turn = Turn(groups: shape.a, p: p, q: q, size: kernels.dtype.size)
    let (rows, numbers) = (x.dim(0), shape.a * p * q)
    return try kernels.kernel("Turn", "factor_turn", turn.options(epilogue))(
      [x] + epilogue.inputs(instead: x), outputs: [.init([rows, numbers], kernels.dtype)],
      scalars: [
        .int(numbers), .bool(p * turn.size % 16 == 0), .int(epilogue.parts), .int(rows),
        .int(x.dim(1)),
      ], grid: .init(ceilDivide(rows, turn.tileRows), turn.tiles), block: .init(256))[0]
  }

  /// x [M, a·c·d] and packed weights → epilogue(y) [M, a·b·d], without a gradient.
  public func launch(
    _ x: MLXArray, packed: MLXArray, _ epilogue: FactorEpilogue = .init()
  ) throws(KernelError) -> MLXArray {
    let rows = try turn(x, p: shape.c, q: shape.d)
    let product =
      try groups?.launch(rows, packed: packed) ?? products.blocks(rows, packed, shape.turned)
    return try turn(product, p: shape.d, q: shape.b, epilogue)
  }

  /// The gradient [a, b, c, d] of the weights: with d = 1 nothing is turned.
  func weightGradient(_ x: MLXArray, _ dy: MLXArray) throws(KernelError) -> MLXArray {
    guard shape.d > 1 else { return products.blockWeights(x, dy, shape) }
    return try weightGradient(x, turned: turn(dy, p: shape.b, q: shape.d))
  }

  private func weightGradient(
    _ x: MLXArray, turned dy: MLXArray
  ) throws(KernelError) -> MLXArray {
    products.blockWeights(try turn(x, p: shape.c, q: shape.d), dy, shape.turned)
      .reshaped(shape.a, shape.d, shape.b, shape.c).transposed(0, 2, 3, 1)
  }

  /// x [M, a·c·d], w [a, b, c, d] → epilogue(y) [M, a·b·d].
  public func product(
    _ x: MLXArray, _ w: MLXArray, _ epilogue: FactorEpilogue = .init()
  ) -> MLXArray {
    epilogue.product(
      x, w, dtype: kernels.dtype,
      launch: { x, w, epilogue in
        try launch(x, packed: try pack(w, rows: x.dim(0)), epilogue)
      },
      gradients: { x, w, dy in
        let turned = try turn(dy, p: shape.b, q: shape.d)
        let blocks = blocks(w)
        let product =
          try groups?.transposedProduct(turned, blocks)
          ?? products.blockInputs(turned, blocks, shape.turned)
        return (try turn(product, p: shape.d, q: shape.c), try weightGradient(x, turned: turned))
      })
  }
}

extension KroneckerShape {
  /// The factor between two turns: a·d blocks.
  var turned: KroneckerShape { KroneckerShape(a * d, b, c, 1) }
}

/// How `Factors/Turn.cu` divides rows of `groups` matrices [p, q].
struct Turn: Hashable {
  let groups: Int, p: Int, q: Int
  /// Bytes of an element.
  let size: Int
  /// What a block turns.
  let tileRows: Int, tileP: Int, tileQ: Int

  init(groups: Int, p: Int, q: Int, size: Int) {
    (self.groups, self.p, self.q, self.size) = (groups, p, q, size)
    // Tiles of about 8 KiB, of p in runs of 64 bytes.
    let (vector, numbers) = (16 / size, 8192 / size)
    tileQ = min(q, 64)
    tileP = min(roundUp(p, vector), max(vector, numbers / tileQ / (4 * vector) * 4 * vector))
    tileRows = max(1, numbers / (tileP * tileQ))
  }

  /// Blocks for each run of rows.
  var tiles: Int { groups * ceilDivide(p, tileP) * ceilDivide(q, tileQ) }

  func options(_ epilogue: FactorEpilogue) -> [String: Int] {
    let isAligned =
      tileQ * size % 16 == 0
      ? q * size % 16 == 0 : p * q * size % 16 == 0 && tileP * q * size % 16 == 0
    return [
      "P": p, "Q": q, "TILE_P": tileP, "TILE_Q": tileQ, "TILE_ROWS": tileRows,
      "X_ALIGNED": isAligned ? 1 : 0, "ACTIVATION": epilogue.activation.rawValue,
      "EPILOGUE": epilogue.parts,
    ]
  }
}
