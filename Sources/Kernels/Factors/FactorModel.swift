/// What products of factors are expected to take on a GPU, by path.
///
/// Strided products take the slower of their bytes and their arithmetic, a little more than at the
/// rates of a copy and a large product; composed operations copy what they permute. The constants are
/// from an H200 (benchmarks/factors-h200.json), those of what begins a product from 90 patterns through the library
/// (docs/log-gpu-factors.md).
public struct FactorModel: Sendable {
  /// The GPU.
  public let gpu: GPU
  /// Whether float32 may round its operands to TF32.
  public let allowsTF32: Bool

  /// Makes the model of a GPU.
  public init(_ gpu: GPU, allowsTF32: Bool = true) {
    (self.gpu, self.allowsTF32) = (gpu, allowsTF32)
  }

  /// The number of rows that kernels are planned for when there are so many: weights prepared for it suit
  /// them.
  public static func plannedRows(_ rows: Int) -> Int { FactorKernels.bucket(rows) }

  /// Seconds to begin a kernel of MLX's graph.
  static let launch = 3e-6
  /// Seconds that the host takes at least to begin a kernel, a product of cuBLASLt, which is recorded, and MLX's
  /// own product of one row: with few rows the GPU is done sooner.
  ///
  /// Hosts differ by half.
  static let kernelHost = 8e-6, libraryHost = 21e-6, rowHost = 7.6e-6
  /// Seconds to begin a batch of strided products.
  static let stridedLaunch = 5e-6
  /// Seconds that each further product of a list adds, where they run side by side, and for the host.
  static let nextProduct = (device: 4e-6, host: 10e-6)
  /// Seconds to begin a dense product.
  static let denseLaunch = 5e-6
  /// Seconds to begin the kernel of warp-wide instructions and to load the weights of its blocks.
  static let kernelLaunch = 3e-6
  /// Seconds to begin the kernel of warpgroups.
  static let warpgroupsLaunch = 2e-6
  /// What a dense product takes of the time that the sustained rate of matrix instructions gives.
  static let denseShare = 0.82
  /// Seconds to begin the operations that form a factor's matrix.
  static let forming = 50e-6
  /// How much longer than a copy's a batch of skinny products takes for its bytes; of blocks batch first for those that it
  /// writes, while what it reads takes no longer.
  static let productBytes = 1.2, writtenBytes = 1.4
  /// The same of products whose blocks are narrower than 128 bytes on both sides.
  static let narrowBytes = 1.75
  /// The share of a copy's rate that MLX's permutations reach where 28 bytes or more stay together; in
  /// proportion less where fewer do.
  static let permutation = (share: 0.75, bytes: 28.0)
  /// The share of the rate of plain multiply-adds that exact float32 reaches.
  static let exactShare = 0.75

  /// Seconds of multiply-adds of elements of so many bytes.
  private func arithmetic(_ multiplyAdds: Double, _ elementSize: Int) -> Double {
    let matrix = gpu.matrixMultiplyAdds * gpu.clock * Double(gpu.multiprocessors)
    guard elementSize == 4 else {
      return multiplyAdds / (matrix * StrassenTileModel.sustainedShare)
    }
    // 128 lanes a multiprocessor.
    let plain = 128 * gpu.clock * Double(gpu.multiprocessors) * FactorModel.exactShare
    return multiplyAdds / (allowsTF32 ? matrix * StrassenTileModel.sustainedShare / 2 : plain)
  }

  /// The least seconds for so many numbers moved once and multiply-adds done.
  public func limit(numbers: Double, multiplyAdds: Double, elementSize: Int) -> Double {
    max(
      numbers * Double(elementSize) / gpu.copyRate, arithmetic(multiplyAdds, elementSize))
  }

  /// Seconds of one batch of products.
  private func product(
    _ numbers: Double, _ multiplyAdds: Double, _ elementSize: Int,
    host: Double = FactorModel.libraryHost, launch: Double = FactorModel.stridedLaunch,
    bytes: Double = FactorModel.productBytes
  ) -> Double {
    let work = max(
      bytes * numbers * Double(elementSize) / gpu.copyRate, arithmetic(multiplyAdds, elementSize))
    return max(host, launch + work)
  }

  /// Seconds that the host takes to begin one of MLX's products.
  private func host(rows: Int) -> Double {
    rows == 1 ? FactorModel.rowHost : FactorModel.libraryHost
  }

  /// Seconds of MLX's copy of so many numbers into another order, `run` of which stay together.
  private func permutation(_ numbers: Double, run: Int, _ elementSize: Int) -> Double {
    let (share, bytes) = FactorModel.permutation
    let together = max(3, Double(run * elementSize))
    return 2 * numbers * Double(elementSize)
      / (share * min(1, together / bytes) * gpu.copyRate) + FactorModel.launch
  }

  // MARK: - Pairs

  private func numbers(_ s: PairShape, rows: Int) -> (x: Double, z: Double, y: Double, w: Double) {
    let m = Double(rows)
    return (
      m * Double(s.inputs), m * Double(s.intermediates), m * Double(s.outputs),
      Double(s.multiplyAdds)
    )
  }

  /// Seconds of both products of a pair, each of which the host takes so long to begin.
  private func products(
    _ s: PairShape, rows: Int, elementSize: Int, host: Double = FactorModel.libraryHost
  ) -> Double {
    let (x, z, y, _) = numbers(s, rows: rows)
    return product(x + z, z * Double(s.m0), elementSize, host: host)
      + product(z + y, z * Double(s.n1), elementSize, host: host)
  }

  /// Seconds of a pair by strided products.
  public func strided(_ s: PairShape, rows: Int, elementSize: Int) -> Double {
    products(s, rows: rows, elementSize: elementSize)
  }

  /// Seconds of a pair composed of MLX operations: both products, and the copies around them.
  ///
  /// For low rank two plain products, between which nothing is copied.
  public func composed(_ s: PairShape, rows: Int, elementSize: Int) -> Double {
    if s.isLowRank {
      return products(s, rows: rows, elementSize: elementSize, host: host(rows: rows))
    }
    let (x, z, y, _) = numbers(s, rows: rows)
    return strided(s, rows: rows, elementSize: elementSize)
      + permutation(x, run: s.m0, elementSize) + permutation(z, run: s.rank, elementSize)
      + permutation(y, run: s.n1, elementSize)
  }

  // MARK: - Factors

  /// Seconds of a block-diagonal factor by strided products.
  public func strided(_ s: KroneckerShape, rows: Int, elementSize: Int) -> Double {
    let s = merged(s, elementSize)
    let m = Double(rows)
    let moved =
      m * (Double(s.inputs) + FactorModel.writtenBytes * Double(s.outputs)) + Double(s.weights)
    return isNarrow(s, elementSize)
      ? blocks(s, rows: rows, elementSize: elementSize)
      : product(moved, m * Double(s.weights), elementSize, bytes: 1)
  }

  private func isNarrow(_ s: KroneckerShape, _ elementSize: Int) -> Bool {
    max(s.b, s.c) * elementSize < 128
  }

  private func merged(_ s: KroneckerShape, _ elementSize: Int) -> KroneckerShape {
    s.merged(elementSize: elementSize, allowsTF32: allowsTF32)
  }

  /// Seconds to merge the weights of a factor for strided products; none where they are read as they are.
  public func merging(_ s: KroneckerShape, elementSize: Int) -> Double {
    let merged = merged(s, elementSize)
    return merged == s ? 0 : packing(merged.weights, elementSize: elementSize)
  }

  private func blocks(
    _ s: KroneckerShape, rows: Int, elementSize: Int, launch: Double = FactorModel.stridedLaunch
  ) -> Double {
    let m = Double(rows)
    return product(
      m * Double(s.inputs + s.outputs) + Double(s.weights), m * Double(s.weights), elementSize,
      launch: launch,
      bytes: isNarrow(s, elementSize) ? FactorModel.narrowBytes : FactorModel.productBytes)
  }

  /// Seconds of a factor composed of MLX operations.
  ///
  /// What the permutations cost in reads and writes of x and y is fitted to the 45 patterns with d > 1
  /// of an earlier record (docs/log-gpu-factors.md).
  public func composed(_ s: KroneckerShape, rows: Int, elementSize: Int) -> Double {
    let m = Double(rows)
    let product = blocks(s, rows: rows, elementSize: elementSize)
    let (x, y) = (m * Double(s.inputs), m * Double(s.outputs))
    guard s.d > 1 else {
      return product + permutation(x, run: s.c, elementSize)
        + permutation(y, run: s.b, elementSize)
    }
    let d = Double(s.d)
    let cost = s.a == 1 ? (4 + 80 / d) * (x + y) : min(28, 1.75 * d) * x + 5 * y
    return product + cost * Double(elementSize) / gpu.copyRate
  }

  /// Seconds of a factor with d > 1 batch last by strided products: one, and where a is above 1 one for each i or
  /// each l.
  public func stridedBatchLast(_ s: KroneckerShape, rows: Int, elementSize: Int) -> Double {
    let (device, host) = FactorModel.nextProduct
    let others = Double(min(s.a, s.d) - 1)
    return max(
      blocks(s, rows: rows, elementSize: elementSize) + others * device,
      FactorModel.libraryHost + others * host)
  }

  /// Seconds of a factor batch last composed of MLX operations: with d = 1 the product alone, else copies of
  /// x and y too, 2.5 times what moving both once takes.
  ///
  /// The other operations take the host 4 µs.
  public func composedBatchLast(_ s: KroneckerShape, rows: Int, elementSize: Int) -> Double {
    let product = max(
      FactorModel.libraryHost + 4e-6,
      blocks(s, rows: rows, elementSize: elementSize, launch: FactorModel.denseLaunch))
    guard s.d > 1 else { return product }
    let bytes = Double(rows * (s.inputs + s.outputs) * elementSize)
    return product + 2.5 * bytes / gpu.copyRate + 2 * FactorModel.launch
  }

  /// Seconds of a factor by turned rows: x and y are copied before and after the products, two fifths
  /// slower than by a plain copy.
  ///
  /// Exact float32 is multiplied by warpgroups where they can.
  public func turned(_ s: KroneckerShape, rows: Int, elementSize: Int) -> Double {
    let isExact = elementSize == 4 && !allowsTF32
    let exact = isExact ? warpgroups(s.turned, rows: rows, elementSize: elementSize) : nil
    return (exact ?? blocks(s, rows: rows, elementSize: elementSize))
      + turn(Double(rows) * Double(s.inputs), elementSize)
      + turn(Double(rows) * Double(s.outputs), elementSize)
  }

  private func turn(_ numbers: Double, _ elementSize: Int) -> Double {
    2.8 * numbers * Double(elementSize) / gpu.copyRate + FactorModel.launch
  }

  /// Seconds of a factor by its kernel of warp-wide instructions, `nil` where it has none.
  public func kernel(_ s: KroneckerShape, rows: Int, elementSize: Int) -> Double? {
    guard elementSize == 2 else { return nil }
    return KroneckerPlan.best(s, rows: FactorKernels.bucket(rows), gpu: gpu).map {
      max(
        FactorModel.kernelHost,
        1.06 * $0.seconds(rows: rows, gpu: gpu) + FactorModel.kernelLaunch)
    }
  }

  /// Seconds of a factor by its kernel of warpgroups, `nil` where it has none.
  ///
  /// What its plan expects, corrected by 86 patterns of an earlier record (docs/log-gpu-factors.md): whole rows
  /// of 16 bits are faster, but slower where lanes read single elements, and weights read again for narrow
  /// slices, which L2 gives to many blocks at once; for wide ones they are slower. With d = 1 float32 is slower, too.
  public func warpgroups(_ s: KroneckerShape, rows: Int, elementSize: Int) -> Double? {
    KroneckerGroupsPlan.best(
      s, rows: FactorKernels.bucket(rows), elementSize: elementSize,
      isExact: elementSize == 4 && !allowsTF32, gpu: gpu
    ).map { plan in
      let readsSingly = elementSize == 2 && plan.group % 2 == 1
      let isExact = elementSize == 4 && !allowsTF32
      let share =
        plan.isTensor
        ? (s.d > 1 || elementSize == 2 ? 1 : isExact ? 1.2 : 1.05)
        : plan.isStationary
          ? (plan.slice == s.d && elementSize == 2 ? (readsSingly ? 1.5 : 0.85) : 1)
          : (plan.slice * elementSize >= 32 ? 1.12 : 0.62)
      return max(
        FactorModel.kernelHost,
        share * plan.seconds(rows: rows, gpu: gpu) + FactorModel.warpgroupsLaunch)
    }
  }

  /// Seconds to bring a factor's weights into the order of a kernel or of blocks.
  public func packing(_ numbers: Int, elementSize: Int) -> Double {
    FactorModel.launch + 4 * Double(numbers * elementSize) / gpu.copyRate
  }

  /// Seconds to form a dense matrix, or to go back from its gradient.
  public func forming(_ numbers: Int, elementSize: Int) -> Double {
    FactorModel.forming + 4 * Double(numbers) * Double(elementSize) / gpu.copyRate
  }

  // MARK: - Gradients

  /// Seconds of the weight gradient of a factor: of turned rows where d > 1.
  public func weightGradient(_ s: KroneckerShape, rows: Int, elementSize: Int) -> Double {
    let product = blocks(merged(s, elementSize), rows: rows, elementSize: elementSize)
    guard s.d > 1 else { return product }
    return product + turn(Double(rows) * Double(s.inputs), elementSize)
      + turn(Double(rows) * Double(s.outputs), elementSize)
  }

  /// Seconds of both gradients of a factor by turned rows.
  public func turnedGradients(_ s: KroneckerShape, rows: Int, elementSize: Int) -> Double {
    weightGradient(s, rows: rows, elementSize: elementSize)
      + blocks(s.transposed, rows: rows, elementSize: elementSize)
      + turn(Double(rows) * Double(s.inputs), elementSize)
  }

  /// Seconds of a pair's gradients by strided products: z again, and four products, of which those over the rows
  /// begin slowly (docs/log-gpu-factors.md).
  public func stridedGradients(_ s: PairShape, rows: Int, elementSize: Int) -> Double {
    2.4 * strided(s, rows: rows, elementSize: elementSize) + 25e-6
  }

  /// Seconds of a pair's gradients by a kernel: a pass that leaves z (of low rank the product has left it), one with the
  /// transposed pair that leaves its own besides, and two products over the rows; `nil` where it has no plans.
  ///
  /// From times of 27 pairs between 768 and 4096 wide (docs/log-gpu-factors.md).
  public func kernelGradients(_ s: PairShape, byWarpgroups: Bool, rows: Int) -> Double? {
    guard
      let passes = PairKernels.seconds(s, byWarpgroups: byWarpgroups, rows: rows, gpu: gpu)
    else { return nil }
    let (x, z, y, _) = numbers(s, rows: rows)
    let keeping = 2 * z / gpu.copyRate
    return (s.isLowRank ? 0 : 0.9 * passes.product + 0.6 * keeping)
      + 1.1 * passes.transposed + 0.8 * keeping
      + 1.1 * 2 * (x + y + 2 * z) / gpu.copyRate + 2 * 10e-6
  }

  /// Seconds of the product with a compressed 2:4 weight of 16 bits: two thirds of the dense product's
  /// arithmetic.
  public func sparse(rows: Int, inputs: Int, outputs: Int) -> Double {
    let (m, k, n) = (Double(rows), Double(inputs), Double(outputs))
    return max(
      FactorModel.libraryHost,
      FactorModel.launch
        + max(
          1.2 * 2 * (m * k + m * n + 0.6 * k * n) / gpu.copyRate, arithmetic(m * n * k, 2) / 1.5))
  }

  /// Seconds of the dense product [rows, inputs] × [inputs, outputs]: the slower of its bytes and its
  /// arithmetic, and half of the other.
  ///
  /// MLX's kernel for one row begins at once.
  public func dense(rows: Int, inputs: Int, outputs: Int, elementSize: Int) -> Double {
    let (m, k, n) = (Double(rows), Double(inputs), Double(outputs))
    let bytes = 1.1 * (m * k + m * n + k * n) * Double(elementSize) / gpu.copyRate
    let isExact = elementSize == 4 && !allowsTF32
    let operations =
      (isExact ? 1 : FactorModel.denseShare) * arithmetic(m * n * k, elementSize)
    let launch = rows == 1 ? 0 : FactorModel.denseLaunch
    return max(
      host(rows: rows), launch + max(bytes, operations) + 0.5 * min(bytes, operations))
  }
}

extension GPU {
  /// Bytes a second, read and written, of a copy.
  var copyRate: Double { busBandwidth * StrassenTileModel.copyShare }
}
