import MLX

/// The kernels of factors for an element type on this machine's GPU: what all their launches share.
struct FactorKernels: Sendable {
  let library: KernelLibrary
  let dtype: DType
  /// TESSERA_ELEMENT of `Element.cuh`.
  let element: Int

  /// Throws where there is no GPU, no compiler, or no kernel for the type: 16 bits, and with
  /// `takesFloat32` those too.
  init(dtype: DType, minimumMajor: Int, takesFloat32: Bool = false) throws(KernelError) {
    let library = try KernelLibrary.current.get()
    guard let element = dtype.kernelElement, dtype != .float32 || takesFloat32 else {
      throw KernelError(
        "the kernels of factors are for bfloat16 and float16\(takesFloat32 ? " and float32" : ""), "
          + "not \(dtype.rawValue)")
    }
    guard library.gpu.major >= minimumMajor else {
      throw KernelError(
        "this kernel needs compute capability \(minimumMajor).0, the GPU has "
          + "\(library.gpu.major).\(library.gpu.minor)")
    }
    (self.library, self.dtype, self.element) = (library, dtype, element)
  }

  /// The number of rows that plans are made for: one for every power of four, so that few kernels are
  /// compiled.
  static func bucket(_ rows: Int) -> Int {
    var bucket = 16
    while bucket < rows, bucket < 16_384 { bucket *= 4 }
    return bucket
  }

  /// A compilation of a file of `Factors/`.
  static func variant(
    _ file: String, _ role: String, _ options: [String: Int], element: Int, shared: Int = 0,
    cluster: Int? = nil
  ) -> KernelVariant {
    KernelVariant(
      file: "Factors/\(file).cu", role: role, options: options.merging(["ELEMENT": element]) { $1 },
      sharedMemory: shared, cluster: cluster)
  }

  func kernel(
    _ file: String, _ role: String, _ options: [String: Int], shared: Int = 0
  ) throws(KernelError) -> CUDAKernel {
    try library.kernel(
      FactorKernels.variant(file, role, options, element: element, shared: shared))
  }

  /// Weights [a, b, c, d], or with `transposed` those of the transposed matrix, in the words of a kernel that packs
  /// them.
  func pack(
    _ w: MLXArray, _ shape: KroneckerShape, transposed: Bool, words: Int, by kernel: CUDAKernel
  ) -> MLXArray {
    let (b, c, d) = (shape.b, shape.c, shape.d)
    let strides = transposed ? [b * c * d, d, c * d, 1] : [b * c * d, c * d, d, 1]
    return kernel(
      [w.asType(dtype)], outputs: [.init([words], .int32)], scalars: strides.map { .int($0) },
      grid: .init(ceilDivide(words, 256)), block: .init(256))[0]
  }

  // MARK: - Weight gradients

  /// The operand of a weight gradient: element (row, group, p) lies at
  /// row · pitch + group / inner · outer + group % inner + p · stride.
  struct Blocks {
    var array: MLXArray
    /// Numbers of a group, and those of them that the result keeps of every block, of how many.
    var size: Int, kept: Int, padded: Int
    var outer: Int, stride: Int
    /// Whether it is a pair's intermediate in units (`Factors/PairGroups.cu`): then the pitch is a step's numbers, `outer` are
    /// a block's pieces and `stride` a unit's.
    var isInUnits = false

    /// Blocks of consecutive numbers, of which all are kept.
    init(_ array: MLXArray, size: Int, outer: Int, stride: Int = 1) {
      self.init(array, size: size, kept: size, of: size, outer: outer, stride: stride)
    }

    /// Of every `padded` numbers the first `kept` enter the result.
    init(
      _ array: MLXArray, size: Int, kept: Int, of padded: Int, outer: Int, stride: Int = 1
    ) {
      (self.array, self.size, self.kept, self.padded) = (array, size, kept, padded)
      (self.outer, self.stride) = (outer, stride)
    }
  }

  /// How often to split the rows of so many tiles: blocks fill the places once or, where that is better, twice.
  ///
  /// A few blocks more than that would take as long as all again.
  static func splits(of tiles: Int, among places: Int) -> Int {
    let (once, twice) = (places / tiles, 2 * places / tiles)
    return max(1, 20 * once < 9 * twice ? twice : once)
  }

  /// What weight gradients of their own type take.
  ///
  /// `inUnits` is for those of a pair by warpgroups.
  static func gradientVariants(element: Int, inUnits: Bool = false) -> [KernelVariant] {
    [GradientTile.large, .small].flatMap { tile in
      (inUnits ? [1, 2] : [0]).map { units in
        variant(
          "BlockGradient", "block_gradient", tile.options(units: units), element: element,
          shared: GradientTile.sharedBytes)
      }
    } + [
      variant(
        "BlockGradient", "block_gradient_sum", ["SUM": 1, "FLOAT_GRADIENT": 0], element: element)
    ]
  }

  /// What a gradient is divided into: tiles of 64 × 64, one a block, or groups of up to 32 × 32, four a block.
  private enum GradientTile {
    case large, small

    /// `units` says which operand is in units: 0 none, 1 the first, 2 the second.
    func options(units: Int) -> [String: Int] {
      ["SMALL": self == .small ? 1 : 0, "UNITS": units]
    }
    /// Three stages of two tiles of 64 × 64 or of four times two of 32 × 32, 16-bit numbers.
    static let sharedBytes = 3 * 2 * 64 * 64 * 2
    /// Blocks that are resident on a multiprocessor.
    static let residentBlocks = 4
  }

  private enum GradientRole: Hashable {
    case partials(GradientTile, units: Int, element: Int)
    case sum(isFloat: Bool, element: Int)
  }

  private static let table = Memo<GradientRole, CUDAKernel>()

  /// Σ over rows of a[row, (group, p)] · b[row, (group, q)] → [groups, P, Q], in a fixed order.
  ///
  /// `outP` and `outQ` are P and Q without padding.
  func gradient(
    _ a: Blocks, _ b: Blocks, rows: Int, groups: Int, inner: Int = 1, outP: Int, outQ: Int,
    dtype: DType
  ) throws(KernelError) -> MLXArray {
    let tile = max(a.size, b.size) <= 32 ? GradientTile.small : .large
    let tiles = ceilDivide(a.size, 64) * ceilDivide(b.size, 64)
    let blocks = tile == .small ? ceilDivide(groups, 4) : groups
    let splits = min(
      max(1, min(ceilDivide(rows, 256), (1 << 26) / (groups * a.size * b.size) + 1)),
      FactorKernels.splits(
        of: tiles * blocks, among: GradientTile.residentBlocks * library.gpu.multiprocessors))
    let units = a.isInUnits ? 1 : b.isInUnits ? 2 : 0
    let gradient = try FactorKernels.table.value(
      .partials(tile, units: units, element: element)
    ) { () throws(KernelError) in
      try kernel(
        "BlockGradient", "block_gradient", tile.options(units: units),
        shared: GradientTile.sharedBytes)
    }
    let partials = gradient(
      [a.array, b.array], outputs: [.init([splits, groups, a.size, b.size], .float32)],
      scalars: [
        rows, groups, a.size, b.size, inner,
        a.array.dim(1), a.outer, a.stride, b.array.dim(1), b.outer, b.stride,
      ].map { .int($0) }, grid: .init(splits, tiles, blocks), block: .init(128))[0]
    let isFloat = dtype == .float32
    let sum = try FactorKernels.table.value(
      .sum(isFloat: isFloat, element: element)
    ) { () throws(KernelError) in
      try kernel(
        "BlockGradient", "block_gradient_sum", ["SUM": 1, "FLOAT_GRADIENT": isFloat ? 1 : 0])
    }
    return sum(
      [partials], outputs: [.init([groups, outP, outQ], isFloat ? .float32 : self.dtype)],
      scalars: [
        splits, groups, a.size, b.size, outP, outQ, a.kept, a.padded, b.kept, b.padded,
      ].map { .int($0) }, grid: .init(ceilDivide(groups * outP * outQ, 256)),
      block: .init(256))[0].asType(dtype)
  }
}

/// The first of the kernels' outputs, or the failure as an array.
func launching(_ body: () throws -> [MLXArray]) throws -> [MLXArray] {
  do { return try body() } catch let error as KernelError { throw MLXError(error.description) }
}

extension DType {
  /// Whether it is float32 that TF32 may not round.
  func isExact(allowsTF32: Bool) -> Bool { self == .float32 && !allowsTF32 }
}
