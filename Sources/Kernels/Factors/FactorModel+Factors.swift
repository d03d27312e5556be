// Kronecker-sparse factors.
extension FactorModel {
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
    let exact =
      isExact(elementSize) ? warpgroups(s.turned, rows: rows, elementSize: elementSize) : nil
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
  public func warpgroups(_ s: KroneckerShape, rows: Int, elementSize: Int) -> Double? {
    KroneckerGroupsPlan.best(
      s, rows: FactorKernels.bucket(rows), elementSize: elementSize,
      isExact: isExact(elementSize), gpu: gpu
    ).map { plan in
      max(
        FactorModel.kernelHost,
        share(plan) * plan.seconds(rows: rows, gpu: gpu) + FactorModel.warpgroupsLaunch)
    }
  }

  /// What a plan takes of what it expects, by 86 patterns of an earlier record, and with d = 1 by 42 of a later one
  /// (docs/log-gpu-factors.md).
  private func share(_ plan: KroneckerGroupsPlan) -> Double {
    let (d, size) = (plan.shape.d, plan.size)
    if plan.isTensor { return d > 1 || size == 2 ? 1 : plan.isExact ? 1.2 : 1.05 }
    // Weights read again: for narrow slices L2 gives them to many blocks at once.
    guard plan.isStationary else { return plan.slice * size >= 32 ? 1.12 : 0.62 }
    // Whole rows of 16 bits are faster, but where lanes read single elements.
    guard plan.slice == d, size == 2 else { return 1 }
    return plan.group % 2 == 1 ? 1.5 : 0.85
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
}
