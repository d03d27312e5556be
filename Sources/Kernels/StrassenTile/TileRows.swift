import MLX

/// Which rows of a matrix form tile rows of four: the parameters of `RowMap.cuh`.
public struct TileRows: Hashable, Sendable {
  /// The number of samples, and of rows in each.
  public let samples: Int, length: Int
  /// Whether a tile holds the same row of four samples, not four rows of one sample.
  public let acrossSamples: Bool

  /// Tiles of consecutive rows of a sample, or across samples; the last tile may miss rows.
  public init(samples: Int, length: Int, acrossSamples: Bool = false) {
    self.samples = samples
    self.length = length
    self.acrossSamples = acrossSamples
  }

  /// M.
  public var rows: Int { samples * length }

  /// The number of tile rows.
  public var count: Int {
    acrossSamples ? (samples + 3) / 4 * length : samples * ((length + 3) / 4)
  }

  /// inner, outerStride, innerStride, subStride, limitOuter, limitInner, limit; then the count.
  var scalars: [CUDAKernel.Scalar] {
    let numbers =
      acrossSamples
      ? [length, 4 * length, 1, length, 4, 0, samples]
      : [(length + 3) / 4, length, 4, 1, 0, 4, length]
    return (numbers + [count]).map { .int($0) }
  }
}

/// What is applied to an output where it is written.
public enum KernelActivation: Int, Hashable, Sendable, CaseIterable {
  /// The identity.
  case none
  /// x Φ(x) by the error function.
  case gelu
  /// Its approximation by tanh.
  case geluTanh
  /// x / (1 + exp(−x)).
  case silu

  /// The same, composed of MLX operations.
  public func callAsFunction(_ x: MLXArray) -> MLXArray {
    switch self {
    case .none: x
    case .gelu: x * (1 + erf(x * 0.5.squareRoot())) * 0.5
    case .geluTanh: x * (1 + tanh((x + x * x * x * 0.044715) * 0.7978845608028654)) * 0.5
    case .silu: x * sigmoid(x)
    }
  }
}
