import MLX
import OrderedCollections

/// A tensor train with two cores, a sum of R Kronecker products: W = Σ_s L[·, ·, s] ⊗ R[s, ·, ·].
///
/// With K = m0·m1 and N = n0·n1 (padded where they do not divide), L is [n0, m0, R] and R is
/// [R, n1, m1]:
///
///     Y[(a, b)] = Σ_{g, s} L[a, g, s] · Σ_δ R[s, b, δ] · X[(g, δ)]
public struct TensorTrain: CoreProduct {
  /// K, the length of an input row.
  public let inputs: Int
  /// N, the length of an output row.
  public let outputs: Int
  /// R, the number of Kronecker products.
  public let rank: Int
  /// m0 x m1, whose product is K or a little more.
  public let input: Factors
  /// n0 x n1, whose product is N or a little more.
  public let output: Factors

  /// Makes the operator, with balanced factors where none are given.
  ///
  /// Throws where factors do not fit the sizes, and where R lies above the min(n0·m0, n1·m1) that is
  /// lossless.
  public init(
    inputs: Int, outputs: Int, rank: Int, input: Factors? = nil, output: Factors? = nil
  ) throws(SpecError) {
    (self.inputs, self.outputs, self.rank) = (inputs, outputs, rank)
    self.input = try (input ?? .balanced(inputs)).fitting(inputs, "in")
    self.output = try (output ?? .balanced(outputs)).fitting(outputs, "out")
    try spec.checkRank(
      rank,
      lossless: min(
        self.input.first * self.output.first, self.input.second * self.output.second),
      inputs: inputs, outputs: outputs)
  }

  /// `tt:rank=R,in=m0xm1,out=n0xn1`.
  public var spec: OperatorSpec { .tensorTrain(rank: rank, input: input, output: output) }

  /// `core0` L [n0, m0, R] and `core1` R [R, n1, m1]; core 1 is applied first.
  public var cores: [Core] {
    let (m0, m1, n0, n1) = (input.first, input.second, output.first, output.second)
    return [
      Core(name: "core0", shape: [n0, m0, rank], fanIn: m0 * rank, fanOut: n0),
      Core(name: "core1", shape: [rank, n1, m1], fanIn: m1, fanOut: n1 * rank),
    ]
  }

  /// R·m0·m1·n1 + R·m0·n1·n0 multiply-adds a row.
  public var cost: Cost {
    let inner = Double(rank * input.first * output.second)
    return Cost(
      parameters: cores.reduce(0) { $0 + $1.count },
      multiplyAdds: inner * Double(input.second + output.first), intermediates: inner)
  }

  /// X [..., K] → Y [..., N].
  public func apply(_ x: MLXArray, _ parameters: Parameters) -> MLXArray {
    let (m0, m1, n0, n1) = (input.first, input.second, output.first, output.second)
    let left = parameter("core0", of: parameters).reshaped([n0, m0 * rank])
    let right = parameter("core1", of: parameters).reshaped([rank * n1, m1])
    return onRows(x) { rows, count in
      // [M·m0, m1] → [M, m0, R, n1] → [M, m0·R, n1] → [M, n0, n1]
      let pieces = paddedColumns(rows, to: m0 * m1).reshaped([count * m0, m1])
      let inner = matmul(pieces, right.transposed()).reshaped([count, m0 * rank, n1])
      return matmul(left, inner).reshaped([count, n0 * n1])[0..., 0..<outputs]
    }
  }

  /// Σ_s L[·, ·, s] ⊗ R[s, ·, ·] [N, K].
  public func dense(_ parameters: Parameters) -> MLXArray? {
    einsum(
      "ags,sbd->abgd", parameter("core0", of: parameters), parameter("core1", of: parameters)
    ).reshaped([output.product, input.product])[0..<outputs, 0..<inputs]
  }
}
