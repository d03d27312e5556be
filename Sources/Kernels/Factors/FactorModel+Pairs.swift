// Pairs of block factors.
extension FactorModel {
  private func numbers(_ s: PairShape, rows: Int) -> (x: Double, z: Double, y: Double) {
    let m = Double(rows)
    return (m * Double(s.inputs), m * Double(s.intermediates), m * Double(s.outputs))
  }

  /// Seconds of both products of a pair, each of which the host takes so long to begin.
  private func products(
    _ s: PairShape, rows: Int, elementSize: Int, host: Double = FactorModel.libraryHost
  ) -> Double {
    let (x, z, y) = numbers(s, rows: rows)
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
    let (x, z, y) = numbers(s, rows: rows)
    return strided(s, rows: rows, elementSize: elementSize)
      + permutation(x, run: s.m0, elementSize) + permutation(z, run: s.rank, elementSize)
      + permutation(y, run: s.n1, elementSize)
  }

  // MARK: - Gradients

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
    let (x, z, y) = numbers(s, rows: rows)
    let keeping = 2 * z / gpu.copyRate
    return (s.isLowRank ? 0 : 0.9 * passes.product + 0.6 * keeping)
      + 1.1 * passes.transposed + 0.8 * keeping
      + 1.1 * 2 * (x + y + 2 * z) / gpu.copyRate + 2 * 10e-6
  }
}
