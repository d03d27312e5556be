import MLX

/// One Kronecker-sparse factor, batch first, in one kernel of Hopper's warpgroups.
///
/// Rows are read as they lie, weights by the matrix units from shared memory. bfloat16, float16, float32 through TF32 or exactly.
public struct KroneckerGroupsKernels: Sendable {
  /// The pattern.
  public let shape: KroneckerShape
  private let kernels: FactorKernels
  private let turned: TurnedProducts
  private let isExact: Bool

  private struct Role: Hashable {
    var plan: KroneckerGroupsPlan
    var element: Int
    /// Of a product; `nil` where the kernel packs weights.
    var activation: KernelActivation?
    var parts = 0
  }

  private static let table = Memo<Role, CUDAKernel>()

  /// The kernels of a pattern on this machine's GPU; throws, with the reason, where there are none.
  public static func named(
    _ shape: KroneckerShape, dtype: DType, allowsTF32: Bool
  ) throws(KernelError) -> KroneckerGroupsKernels {
    let kernels = try FactorKernels(dtype: dtype, minimumMajor: 9, takesFloat32: true)
    let gpu = kernels.library.gpu
    guard gpu.major == 9 else {
      throw KernelError("warpgroups' matrix instructions are Hopper's, the GPU is another")
    }
    let isExact = dtype.isExact(allowsTF32: allowsTF32)
    for shape in [shape, shape.transposed] {
      guard plan(shape, rows: 4096, size: dtype.size, isExact: isExact, gpu: gpu) != nil else {
        throw KernelError(
          shape.d == 1 && shape.c * dtype.size % 16 > 0
            ? "the rows of a block of \(shape) are no whole 16 bytes"
            : "no division of \(shape) among warpgroups fits")
      }
    }
    return KroneckerGroupsKernels(
      shape: shape, kernels: kernels,
      turned: try .named(shape, dtype: dtype, allowsTF32: allowsTF32), isExact: isExact)
  }

  /// The compilations that a product of so many rows takes, with `gradients` those of its gradients
  /// too.
  public static func variants(
    _ shape: KroneckerShape, rows: Int, dtype: DType, allowsTF32: Bool, gpu: GPU,
    epilogue: FactorEpilogue = .init(), gradients: Bool = false
  ) -> [KernelVariant] {
    guard let element = dtype.kernelElement else { return [] }
    let isExact = dtype.isExact(allowsTF32: allowsTF32)
    func product(_ shape: KroneckerShape, _ epilogue: FactorEpilogue) -> [KernelVariant] {
      guard let plan = plan(shape, rows: rows, size: dtype.size, isExact: isExact, gpu: gpu)
      else { return [] }
      return [
        FactorKernels.variant(
          "KroneckerGroupsPack", "kronecker_groups_pack", options(plan), element: element),
        productVariant(plan, epilogue, element: element),
      ]
    }
    guard gradients else { return product(shape, epilogue) }
    return product(shape, epilogue) + product(shape, .init())
      + product(shape.transposed, .init())
      + (shape.d > 1
        ? TurnedProducts.variants(
          shape, rows: rows, dtype: dtype, allowsTF32: allowsTF32, gpu: gpu, gradients: true) : [])
  }

  private static func options(_ plan: KroneckerGroupsPlan) -> [String: Int] {
    let shape = plan.shape
    return [
      "A": shape.a, "B": shape.b, "C": shape.c, "D": shape.d, "SLICE": plan.slice,
      "WIDTH": plan.width, "TILES": plan.tiles, "COLUMN_UNITS": plan.columnUnits,
      "CHUNK_STEPS": plan.chunkSteps, "EXACT": plan.isExact ? 1 : 0,
      "TOGETHER": plan.isTogether ? 1 : 0, "NEIGHBOURS": plan.hasNeighbours ? 1 : 0,
    ]
  }

  private static func productVariant(
    _ plan: KroneckerGroupsPlan, _ epilogue: FactorEpilogue, element: Int
  ) -> KernelVariant {
    let options = options(plan).merging([
      "ROW_UNITS": plan.rowUnits, "STAGES": plan.stages, "X_PITCH": plan.pitch,
      "STATIONARY": plan.isStationary ? 1 : 0, "X_ALIGNED": plan.isAligned ? 1 : 0,
      "TENSOR": plan.arrival.rawValue, "CLUSTER": plan.cluster,
      "PRODUCERS": plan.copyingThreads, "WRITES": plan.places, "WRITTEN_TILES": plan.writtenTiles,
      "PARTIAL_CHUNKS": plan.partialChunks, "SHARED": plan.sharedBytes,
      "ACTIVATION": epilogue.activation.rawValue,
      "EPILOGUE": epilogue.parts, "Y_ALIGNED": plan.isOutputAligned ? 1 : 0,
    ]) { $1 }
    return FactorKernels.variant(
      "KroneckerGroups", "kronecker_groups", options, element: element, shared: plan.sharedBytes,
      cluster: plan.isTensor ? plan.cluster : nil)
  }

  /// The plan for so many rows: one for every power of four, so that few kernels are compiled.
  private static func plan(
    _ shape: KroneckerShape, rows: Int, size: Int, isExact: Bool, gpu: GPU
  ) -> KroneckerGroupsPlan? {
    KroneckerGroupsPlan.best(
      shape, rows: FactorKernels.bucket(rows), elementSize: size, isExact: isExact, gpu: gpu)
  }

  private func plan(rows: Int, transposed: Bool) throws(KernelError) -> KroneckerGroupsPlan {
    let shape = transposed ? shape.transposed : shape
    guard
      let plan = KroneckerGroupsKernels.plan(
        shape, rows: rows, size: kernels.dtype.size, isExact: isExact, gpu: kernels.library.gpu)
    else { throw KernelError("no division of \(shape) among warpgroups fits") }
    return plan
  }

  // MARK: - Launches

  /// The weights [a, b, c, d] as the product of so many rows reads them, or the one with the transposed
  /// matrix.
  public func pack(
    _ w: MLXArray, rows: Int, transposed: Bool = false
  ) throws(KernelError) -> MLXArray {
    let plan = try plan(rows: rows, transposed: transposed)
    let role = Role(plan: plan, element: kernels.element)
    let kernel = try KroneckerGroupsKernels.table.value(role) { () throws(KernelError) in
      try kernels.kernel(
        "KroneckerGroupsPack", "kronecker_groups_pack", KroneckerGroupsKernels.options(plan))
    }
    return kernels.pack(w, shape, transposed: transposed, words: plan.words, by: kernel)
  }

  /// x [M, a·c·d] and packed weights → epilogue(y) [M, a·b·d], without a gradient.
  ///
  /// With `transposed` the product with the transposed matrix, [M, a·b·d] → [M, a·c·d].
  public func launch(
    _ x: MLXArray, packed: MLXArray, _ epilogue: FactorEpilogue = .init(), transposed: Bool = false
  ) throws(KernelError) -> MLXArray {
    let rows = x.dim(0)
    let plan = try plan(rows: rows, transposed: transposed)
    let splits = plan.splits(rows: rows, multiprocessors: kernels.library.gpu.multiprocessors)
    let blocks = (plan.parts * plan.slices, plan.shape.a, splits)
    let product = CUDAKernel.Output([rows, plan.shape.outputs], kernels.dtype)
    // Room for each block's tensor maps, of arrays whose address the kernel learns when it runs.
    let maps = CUDAKernel.Output(
      [blocks.0 * blocks.1 * blocks.2, plan.mapBytes / 4], .int32)
    let role = Role(
      plan: plan, element: kernels.element, activation: epilogue.activation, parts: epilogue.parts)
    let kernel = try KroneckerGroupsKernels.table.value(role) { () throws(KernelError) in
      try kernels.library.kernel(
        KroneckerGroupsKernels.productVariant(plan, epilogue, element: kernels.element))
    }
    return kernel(
      [x, packed] + epilogue.inputs(instead: x),
      outputs: plan.isTensor ? [product, maps] : [product],
      scalars: [
        .int(plan.shape.outputs), .bool(plan.isOutputAligned), .int(epilogue.parts), .int(rows),
        .int(x.dim(1)),
      ], grid: .init(blocks.0, blocks.1, blocks.2), block: .init(256 + plan.copyingThreads))[0]
  }

  // MARK: - The product with its gradients

  /// x [M, a·c·d], w [a, b, c, d] → epilogue(y) [M, a·b·d].
  ///
  /// The gradient of x is the product with the transposed matrix, that of w a batch of products, of turned rows
  /// where d > 1.
  public func product(
    _ x: MLXArray, _ w: MLXArray, _ epilogue: FactorEpilogue = .init()
  ) -> MLXArray {
    epilogue.product(
      x, w, dtype: kernels.dtype,
      launch: { x, w, epilogue in
        try launch(x, packed: try pack(w, rows: x.dim(0)), epilogue)
      },
      gradients: { x, w, dy in
        (try transposedProduct(dy, w), try turned.weightGradient(x, dy))
      })
  }

  /// dy [M, a·b·d], w [a, b, c, d] → [M, a·c·d]: the product with the transposed matrix.
  func transposedProduct(_ dy: MLXArray, _ w: MLXArray) throws(KernelError) -> MLXArray {
    try launch(dy, packed: pack(w, rows: dy.dim(0), transposed: true), transposed: true)
  }
}
