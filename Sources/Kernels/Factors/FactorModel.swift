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

  /// Whether elements of so many bytes are float32 that TF32 may not round.
  func isExact(_ elementSize: Int) -> Bool { elementSize == 4 && !allowsTF32 }

  /// Seconds of multiply-adds of elements of so many bytes.
  func arithmetic(_ multiplyAdds: Double, _ elementSize: Int) -> Double {
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
  func product(
    _ numbers: Double, _ multiplyAdds: Double, _ elementSize: Int,
    host: Double = FactorModel.libraryHost, launch: Double = FactorModel.stridedLaunch,
    bytes: Double = FactorModel.productBytes
  ) -> Double {
    let work = max(
      bytes * numbers * Double(elementSize) / gpu.copyRate, arithmetic(multiplyAdds, elementSize))
    return max(host, launch + work)
  }

  /// Seconds that the host takes to begin one of MLX's products.
  func host(rows: Int) -> Double {
    rows == 1 ? FactorModel.rowHost : FactorModel.libraryHost
  }

  /// Seconds of MLX's copy of so many numbers into another order, `run` of which stay together.
  func permutation(_ numbers: Double, run: Int, _ elementSize: Int) -> Double {
    let (share, bytes) = FactorModel.permutation
    let together = max(3, Double(run * elementSize))
    return 2 * numbers * Double(elementSize)
      / (share * min(1, together / bytes) * gpu.copyRate) + FactorModel.launch
  }

  /// Seconds to bring a factor's weights into the order of a kernel or of blocks.
  public func packing(_ numbers: Int, elementSize: Int) -> Double {
    FactorModel.launch + 4 * Double(numbers * elementSize) / gpu.copyRate
  }

  /// Seconds to form a dense matrix, or to go back from its gradient.
  public func forming(_ numbers: Int, elementSize: Int) -> Double {
    FactorModel.forming + 4 * Double(numbers) * Double(elementSize) / gpu.copyRate
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
    let operations =
      (isExact(elementSize) ? 1 : FactorModel.denseShare) * arithmetic(m * n * k, elementSize)
    let launch = rows == 1 ? 0 : FactorModel.denseLaunch
    return max(
      host(rows: rows), launch + max(bytes, operations) + 0.5 * min(bytes, operations))
  }
}

extension GPU {
  /// Bytes a second, read and written, of a copy.
  var copyRate: Double { busBandwidth * StrassenTileModel.copyShare }
}
