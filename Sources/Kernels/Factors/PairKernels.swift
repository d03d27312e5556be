import MLX

/// A pair of block factors in one kernel: what is between them never reaches device memory.
///
/// For cores that a cluster of eight multiprocessors holds, in registers (Hopper and later) or, by the
/// matrix instructions of Hopper's warpgroups, in shared memory, where up to four clusters share the outputs of a row.
/// Reads x once from device memory and writes y once; for the backward pass it keeps x and the packed cores, and
/// computes the intermediate again, which only of low rank it keeps, where it is a few numbers a row.
public struct PairKernels: Sendable {
  /// How the kernel divides the product, and its transpose for the gradient of the input.
  private let plan: any PairDivision, transposedPlan: any PairDivision
  private let kernels: FactorKernels
  private let table = Memo<Role, CUDAKernel>()

  /// What a kernel does for the pair or the transposed one.
  private struct Role: Hashable {
    var isTransposed: Bool
    /// `nil` where it packs the cores.
    var product: Product?

    struct Product: Hashable {
      var activation: KernelActivation, parts: Int, keeps: Bool, writes: Bool
    }
  }

  private struct Question: Hashable {
    var shape: PairShape
    var dtype: DType
    var byWarpgroups: Bool
  }

  private static let known = Memo<Question, PairKernels>()

  /// The kernels of a pair on this machine's GPU, made once; throws, with the reason, where there are none.
  public static func named(
    _ shape: PairShape, dtype: DType, byWarpgroups: Bool = false
  ) throws(KernelError) -> PairKernels {
    try known.value(Question(shape: shape, dtype: dtype, byWarpgroups: byWarpgroups)) {
      () throws(KernelError) in
      try PairKernels(shape, dtype: dtype, byWarpgroups: byWarpgroups)
    }
  }

  private init(_ shape: PairShape, dtype: DType, byWarpgroups: Bool) throws(KernelError) {
    kernels = try FactorKernels(dtype: dtype, minimumMajor: 9)
    guard !byWarpgroups || kernels.library.gpu.major == 9 else {
      throw KernelError("warpgroups' matrix instructions are Hopper's, the GPU is another")
    }
    guard let (plan, transposed) = PairKernels.plans(shape, byWarpgroups: byWarpgroups) else {
      throw KernelError(
        "the cores do not fit the \(byWarpgroups ? "shared memory" : "registers") of a cluster")
    }
    (self.plan, transposedPlan) = (plan, transposed)
    // What a product takes is compiled now, so that a failure is found before the path is chosen.
    _ = try kernels.library.kernel(plan.packing(element: kernels.element))
    _ = try kernels.library.kernel(plan.product(element: kernels.element))
  }

  /// The plans of a pair and of its transpose, where there are both.
  private static func plans(
    _ shape: PairShape, byWarpgroups: Bool
  ) -> (any PairDivision, any PairDivision)? {
    func plan(_ shape: PairShape) -> (any PairDivision)? {
      byWarpgroups ? PairGroupsPlan.named(shape) : PairPlan.named(shape)
    }
    guard let forward = plan(shape), let back = plan(shape.transposed) else { return nil }
    return (forward, back)
  }

  /// The element type.
  public var dtype: DType { kernels.dtype }

  /// Seconds expected of the product and of the transposed pair's, for so many rows; `nil` where there are no
  /// plans.
  public static func seconds(
    _ shape: PairShape, byWarpgroups: Bool, rows: Int, gpu: GPU
  ) -> (product: Double, transposed: Double)? {
    func seconds(_ plan: any PairDivision) -> Double {
      max(FactorModel.kernelHost, plan.seconds(rows: rows, gpu: gpu))
    }
    return plans(shape, byWarpgroups: byWarpgroups).map { (seconds($0), seconds($1)) }
  }

  /// The compilations that a product takes, with `gradients` those of its gradients too; none where
  /// there is no plan.
  public static func variants(
    _ shape: PairShape, dtype: DType, byWarpgroups: Bool = false,
    epilogue: FactorEpilogue = .init(), gradients: Bool = false
  ) -> [KernelVariant] {
    guard let element = dtype.kernelElement,
      let (plan, back) = plans(shape, byWarpgroups: byWarpgroups)
    else { return [] }
    let forward = [
      plan.packing(element: element), plan.product(element: element),
      plan.product(element: element, epilogue),
    ]
    guard gradients else { return forward }
    return forward + [
      back.packing(element: element), back.product(element: element, keeps: true),
      shape.isLowRank
        ? plan.product(element: element, epilogue, keeps: true)
        : plan.product(element: element, keeps: true, writes: !epilogue.isSum),
    ] + FactorKernels.gradientVariants(element: element, inUnits: byWarpgroups)
  }

  // MARK: - Launches

  /// Both cores as operands of the matrix units; with `transposed` those of the transposed pair.
  private func pack(
    _ core0: MLXArray, _ core1: MLXArray, transposed: Bool
  ) throws(KernelError) -> MLXArray {
    let s = self.plan.shape
    let plan = transposed ? transposedPlan : self.plan
    // Elements (i, p, j, s) of core 0 and (j, i, s, q) of core 1. In the transposed pair input and
    // output pieces change places, and each of its cores lies in the other one.
    let first = [s.m0 * s.n0 * s.rank, s.n0 * s.rank, s.rank, 1]
    let second = [s.m1 * s.rank * s.n1, s.rank * s.n1, s.n1, 1]
    let strides0 = transposed ? [second[0], second[3], second[1], second[2]] : first
    let strides1 = transposed ? [first[0], first[2], first[3], first[1]] : second
    let kernel = try table.value(Role(isTransposed: transposed)) { () throws(KernelError) in
      try kernels.library.kernel(plan.packing(element: kernels.element))
    }
    return kernel(
      transposed ? [core1, core0] : [core0, core1], outputs: [.init([plan.words], .int32)],
      scalars: (strides0 + strides1).map { .int($0) }, grid: .init(ceilDivide(plan.words, 256)),
      block: .init(256))[0]
  }

  /// x [M, m1·m0] → y [M, n0·n1] and, with `keeps`, z as the plan has it.
  private func launch(
    _ x: MLXArray, _ packed: MLXArray, _ epilogue: FactorEpilogue = .init(),
    transposed: Bool = false, keeps: Bool = false, writes: Bool = true
  ) throws(KernelError) -> [MLXArray] {
    let plan = transposed ? transposedPlan : self.plan
    let shape = plan.shape
    let rows = x.dim(0)
    var outputs: [CUDAKernel.Output] = []
    if writes { outputs.append(.init([rows, shape.outputs], dtype)) }
    if keeps { outputs.append(.init(plan.keptShape(rows: rows), dtype)) }
    let steps = ceilDivide(rows, plan.stepRows)
    let resident = kernels.library.gpu.residentClusters(of: plan.cluster) / plan.shares
    let blocks = max(1, min(resident, steps)) * plan.shares * plan.cluster
    let maps = plan.takesMaps ? [CUDAKernel.Output([blocks, 32], .int32)] : []
    let role = Role(
      isTransposed: transposed,
      product: .init(
        activation: epilogue.activation, parts: epilogue.parts, keeps: keeps, writes: writes))
    let kernel = try table.value(role) { () throws(KernelError) in
      try kernels.library.kernel(
        plan.product(element: kernels.element, epilogue, keeps: keeps, writes: writes))
    }
    let results = kernel(
      [x, packed] + epilogue.inputs(instead: x), outputs: outputs + maps,
      scalars: [
        .int(shape.outputs), .bool(plan.isOutputAligned), .int(epilogue.parts), .int(rows),
        .int(x.dim(1)),
      ], grid: .init(blocks), block: .init(512))
    return Array(results.prefix(outputs.count))
  }

  /// Both cores as the product reads them.
  public func pack(_ core0: MLXArray, _ core1: MLXArray) throws(KernelError) -> MLXArray {
    try pack(core0.asType(dtype), core1.asType(dtype), transposed: false)
  }

  /// x [M, m1·m0] and packed cores → epilogue(y) [M, n0·n1], without a gradient.
  public func launch(
    _ x: MLXArray, packed: MLXArray, _ epilogue: FactorEpilogue = .init()
  ) throws(KernelError) -> MLXArray {
    try launch(x, packed, epilogue)[0]
  }

  // MARK: - The product with its gradients

  /// x [M, m1·m0], core 0 [m1, m0, n0·R], core 1 [n0, m1·R, n1] → epilogue(y) [M, n0·n1].
  public func product(
    _ x: MLXArray, _ core0: MLXArray, _ core1: MLXArray, _ epilogue: FactorEpilogue = .init()
  ) -> MLXArray {
    let keeps = plan.shape.isLowRank
    let function = CustomFunction(
      outputs: keeps ? 3 : 2,
      forward: { inputs in
        try launching {
          let packed = try pack(inputs[1], inputs[2])
          return [packed]
            + (try launch(
              inputs[0], packed, epilogue.replacing(Array(inputs[3...]), dtype: dtype),
              keeps: keeps))
        }
      },
      backward: { primals, cotangents, outputs in
        try launching {
          try gradients(
            primals, cotangents[1], packed: outputs[0], z: keeps ? outputs[2] : nil, epilogue)
        }
      })
    return function([x, core0, core1] + epilogue.arrays)[1]
  }

  /// The gradients of x, both cores and the arrays of the epilogue; z where the product has kept it.
  private func gradients(
    _ primals: [MLXArray], _ cotangent: MLXArray, packed: MLXArray, z: MLXArray?,
    _ epilogue: FactorEpilogue
  ) throws -> [MLXArray] {
    let s = plan.shape
    let (x, cores) = (primals[0], primals[1...2].map { $0.asType(dtype) })
    let others = Array(primals[3...])
    var kept = z
    let (dy, gradients) = try epilogue.replacing(others, dtype: dtype).gradients(
      before: {
        let results = try launch(x, packed, keeps: kept == nil)
        kept = kept ?? results[1]
        return results[0]
      }, cotangent: cotangent)
    let back = try launch(
      dy, try pack(cores[0], cores[1], transposed: true), transposed: true, keeps: true)
    let z = try kept ?? launch(x, packed, keeps: true, writes: false)[0]
    let rows = x.dim(0)
    let core0 = try kernels.gradient(
      .init(x, size: s.m0, outer: s.m0), transposedPlan.keptBlocks(back[1]), rows: rows,
      groups: s.m1, outP: s.m0, outQ: s.n0 * s.rank, dtype: primals[1].dtype)
    let core1 = try kernels.gradient(
      plan.keptBlocks(z), .init(dy, size: s.n1, outer: s.n1), rows: rows, groups: s.n0,
      outP: s.m1 * s.rank, outQ: s.n1, dtype: primals[2].dtype)
    return [back[0], core0, core1] + zip(gradients, others).map { $0.asType($1.dtype) }
  }
}
