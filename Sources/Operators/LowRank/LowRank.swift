import MLX
import OrderedCollections

/// A product of two thin matrices: Y = (X Vᵀ) Uᵀ.
public struct LowRank: CoreProduct {
  /// K, the length of an input row.
  public let inputs: Int
  /// N, the length of an output row.
  public let outputs: Int
  /// R, the inner dimension.
  public let rank: Int

  /// Makes the operator; throws unless 1 ≤ R ≤ min(K, N).
  public init(inputs: Int, outputs: Int, rank: Int) throws(SpecError) {
    (self.inputs, self.outputs, self.rank) = (inputs, outputs, rank)
    try spec.checkRank(rank, lossless: min(inputs, outputs), inputs: inputs, outputs: outputs)
  }

  /// `lowrank:rank=R`.
  public var spec: OperatorSpec { .lowRank(rank: rank) }

  /// `v` [R, K] and `u` [N, R].
  public var cores: [Core] {
    [
      Core(name: "v", shape: [rank, inputs], fanIn: inputs, fanOut: rank),
      Core(name: "u", shape: [outputs, rank], fanIn: rank, fanOut: outputs),
    ]
  }

  /// R (K + N) multiply-adds a row.
  public var cost: Cost {
    let count = rank * (inputs + outputs)
    return Cost(parameters: count, multiplyAdds: Double(count), intermediates: Double(rank))
  }

  /// X [..., K] → X Vᵀ Uᵀ [..., N].
  public func apply(_ x: MLXArray, _ parameters: Parameters) -> MLXArray {
    let (v, u) = (parameter("v", of: parameters), parameter("u", of: parameters))
    return onRows(x) { rows, _ in matmul(matmul(rows, v.transposed()), u.transposed()) }
  }

  /// U V [N, K].
  public func dense(_ parameters: Parameters) -> MLXArray? {
    matmul(parameter("u", of: parameters), parameter("v", of: parameters))
  }

  /// The parameters of a smaller rank, given those that ``fit(_:)`` found for this one: the terms come
  /// in the order of their weight, so the first ones are the optimum too.
  public func truncated(_ fitted: Parameters, to smaller: LowRank) -> Parameters {
    [
      "v": parameter("v", of: fitted)[0..<smaller.rank],
      "u": parameter("u", of: fitted)[0..., 0..<smaller.rank],
    ]
  }

  /// The truncated singular value decomposition, of W H^½ where H is given: the optimum.
  public func fit(_ target: FitTarget) throws -> Parameters {
    let target = try target.checked(for: self)
    let (u, v) = try truncatedSVD(
      target.weight, rank: rank, secondMoment: target.secondMoment)
    return ["v": v, "u": u]
  }
}
