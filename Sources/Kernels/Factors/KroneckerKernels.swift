import MLX

/// One Kronecker-sparse factor, batch first, in one kernel: rows are read as they lie, in whole
/// segments, and no permutation is made in device memory.
public struct KroneckerKernels: Sendable {
  /// The pattern.
  public let shape: KroneckerShape
  private let kernels: FactorKernels

  private struct Role: Hashable {
    var plan: KroneckerPlan
    var element: Int
    /// Of a product; `nil` where the kernel packs weights.
    var activation: KernelActivation?
  }

  private static let table = Memo<Role, CUDAKernel>()

  /// The kernels of a pattern on this machine's GPU; throws, with the reason, where there are none.
  public static func named(
    _ shape: KroneckerShape, dtype: DType
  ) throws(KernelError) -> KroneckerKernels {
    let kernels = KroneckerKernels(
      shape: shape, kernels: try FactorKernels(dtype: dtype, minimumMajor: 8))
    for shape in [shape, shape.transposed] {
      guard KroneckerPlan.best(shape, rows: 4096, gpu: kernels.kernels.library.gpu) != nil else {
        throw KernelError("no division of \(shape) fits the shared memory")
      }
    }
    return kernels
  }

  /// The element type.
  public var dtype: DType { kernels.dtype }

  /// The compilations that a product of so many rows takes, with `gradients` those of its gradients
  /// too.
  public static func variants(
    _ shape: KroneckerShape, rows: Int, dtype: DType, gpu: GPU,
    activation: KernelActivation = .none, gradients: Bool = false
  ) -> [KernelVariant] {
    guard let element = dtype.kernelElement else { return [] }
    func product(_ shape: KroneckerShape, _ activations: Set<KernelActivation>) -> [KernelVariant] {
      guard let plan = KroneckerPlan.best(shape, rows: FactorKernels.bucket(rows), gpu: gpu)
      else { return [] }
      return [
        FactorKernels.variant("KroneckerPack", "kronecker_pack", options(plan), element: element)
      ]
        + activations.map {
          FactorKernels.variant(
            "Kronecker", "kronecker", productOptions(plan, activation: $0), element: element,
            shared: plan.sharedBytes)
        }
    }
    guard gradients else { return product(shape, [activation]) }
    return product(shape, [activation, .none]) + product(shape.transposed, [.none])
      + FactorKernels.gradientVariants(element: element)
      + (shape.d > 1
        ? TurnedProducts.variants(
          shape, rows: rows, dtype: dtype, allowsTF32: false, gpu: gpu, gradients: true) : [])
  }

  private static func options(_ plan: KroneckerPlan) -> [String: Int] {
    let shape = plan.shape
    return [
      "A": shape.a, "B": shape.b, "C": shape.c, "D": shape.d, "SLICE": plan.slice,
      "PART": plan.part, "WIDTH": plan.width, "TILES": plan.tiles,
    ]
  }

  private static func productOptions(
    _ plan: KroneckerPlan, activation: KernelActivation
  ) -> [String: Int] {
    options(plan).merging([
      "ROW_BLOCKS": plan.rowBlocks, "TILE_ROWS": plan.tileRows, "CHUNK_STEPS": plan.chunkSteps,
      "STAGES": plan.stages, "X_PITCH": plan.pitch, "X_ALIGNED": plan.isAligned ? 1 : 0,
      "SHARED": plan.sharedBytes, "ACTIVATION": activation.rawValue, "WARPS": plan.warps,
      "BLOCKS_PER_SM": plan.blocks,
    ]) { $1 }
  }

  // MARK: - Launches

  private func plan(rows: Int, transposed: Bool) throws(KernelError) -> KroneckerPlan {
    let shape = transposed ? shape.transposed : shape
    guard
      let plan = KroneckerPlan.best(
        shape, rows: FactorKernels.bucket(rows), gpu: kernels.library.gpu)
    else { throw KernelError("no division of \(shape) fits the shared memory") }
    return plan
  }

  /// The weights [a, b, c, d] as the product of so many rows reads them, or the one with the transposed
  /// matrix.
  public func pack(
    _ w: MLXArray, rows: Int, transposed: Bool = false
  ) throws(KernelError) -> MLXArray {
    let plan = try plan(rows: rows, transposed: transposed)
    let role = Role(plan: plan, element: kernels.element)
    let kernel = try KroneckerKernels.table.value(role) { () throws(KernelError) in
      try kernels.kernel("KroneckerPack", "kronecker_pack", KroneckerKernels.options(plan))
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
    let (b, d) = (plan.shape.b, plan.shape.d)
    // Every run of outputs starts at a multiple of 16 bytes, or of the power of two in its length.
    let run = d == plan.width ? 2 * plan.tiles * d : plan.width
    let piece = min(16, 2 * (run & -run))
    let starts = [plan.shape.outputs, b * d, run, d > plan.width ? d : run]
    let isAligned = starts.allSatisfy { $0 * 2 % piece == 0 }
    let splits = plan.splits(rows: rows, multiprocessors: kernels.library.gpu.multiprocessors)
    let role = Role(plan: plan, element: kernels.element, activation: epilogue.activation)
    let kernel = try KroneckerKernels.table.value(role) { () throws(KernelError) in
      try kernels.kernel(
        "Kronecker", "kronecker",
        KroneckerKernels.productOptions(plan, activation: epilogue.activation),
        shared: plan.sharedBytes)
    }
    return kernel(
      [x, packed] + epilogue.inputs(instead: x),
      outputs: [.init([rows, plan.shape.outputs], dtype)],
      scalars: [
        .int(plan.shape.outputs), .bool(isAligned), .int(epilogue.parts), .int(rows),
        .int(x.dim(1)),
      ], grid: .init(plan.parts * plan.slices, plan.shape.a, splits),
      block: .init(32 * plan.warps))[0]
  }

  // MARK: - The product with its gradients

  /// x [M, a·c·d], w [a, b, c, d] → epilogue(y) [M, a·b·d].
  public func product(
    _ x: MLXArray, _ w: MLXArray, _ epilogue: FactorEpilogue = .init()
  ) -> MLXArray {
    epilogue.product(
      x, w, dtype: dtype,
      launch: { x, w, epilogue in
        try launch(x, packed: try pack(w, rows: x.dim(0)), epilogue)
      },
      gradients: { x, w, dy in
        let packed = try pack(w, rows: x.dim(0), transposed: true)
        return (
          try launch(dy, packed: packed, transposed: true),
          try weightGradient(x, dy, dtype: w.dtype)
        )
      })
  }

  /// The gradient [a, b, c, d] of the weights.
  private func weightGradient(
    _ x: MLXArray, _ dy: MLXArray, dtype: DType
  ) throws(KernelError) -> MLXArray {
    let (a, b, c, d) = (shape.a, shape.b, shape.c, shape.d)
    // Numbers that are d apart are fetched one by one: turning them first moves less.
    if d > 1,
      let turned = try? TurnedProducts.named(shape, dtype: self.dtype, allowsTF32: false)
    {
      return try turned.weightGradient(x, dy).asType(dtype)
    }
    return try kernels.gradient(
      .init(dy, size: b, outer: b * d, stride: d), .init(x, size: c, outer: c * d, stride: d),
      rows: x.dim(0), groups: a * d, inner: d, outP: b, outQ: c, dtype: dtype
    ).reshaped(a, d, b, c).transposed(0, 2, 3, 1)
  }
}
