import MLX
import OrderedCollections

/// A Kronecker product of two factors: W = L ⊗ R with L [n0, m0] and R [n1, m1], where K = m0·m1
/// and N = n0·n1 (padded where they do not divide).
///
/// Few parameters, no rank bound, and a weight that is rarely near any such product: expect large
/// errors on pretrained weights.
public struct Kronecker: CoreProduct {
  private let train: TensorTrain

  /// Makes the operator, with balanced factors where none are given; throws where they do not fit.
  public init(
    inputs: Int, outputs: Int, input: Factors? = nil, output: Factors? = nil
  ) throws(SpecError) {
    train = try TensorTrain(
      inputs: inputs, outputs: outputs, rank: 1, input: input, output: output)
  }

  /// K, the length of an input row.
  public var inputs: Int { train.inputs }

  /// N, the length of an output row.
  public var outputs: Int { train.outputs }

  /// m0 x m1, whose product is K or a little more.
  public var input: Factors { train.input }

  /// n0 x n1, whose product is N or a little more.
  public var output: Factors { train.output }

  /// `kronecker:in=m0xm1,out=n0xn1`.
  public var spec: OperatorSpec { .kronecker(input: input, output: output) }

  /// `core0` [n0, m0] and `core1` [n1, m1].
  public var cores: [Core] {
    var cores = train.cores
    cores[0].shape = [output.first, input.first]
    cores[1].shape = [output.second, input.second]
    return cores
  }

  /// m0·m1·n1 + m0·n1·n0 multiply-adds a row.
  public var cost: Cost { train.cost }

  /// The same cores as those of a tensor train of rank 1.
  private func trainParameters(_ parameters: Parameters) -> Parameters {
    [
      "core0": parameter("core0", of: parameters).expandedDimensions(axis: 2),
      "core1": parameter("core1", of: parameters).expandedDimensions(axis: 0),
    ]
  }

  /// X [..., K] → Y [..., N].
  public func apply(_ x: MLXArray, _ parameters: Parameters) -> MLXArray {
    train.apply(x, trainParameters(parameters))
  }

  /// L ⊗ R [N, K].
  public func dense(_ parameters: Parameters) -> MLXArray? {
    kron(parameter("core0", of: parameters), parameter("core1", of: parameters))[
      0..<outputs, 0..<inputs]
  }

  /// The nearest Kronecker product (Van Loan and Pitsianis 1993); from there by alternating least
  /// squares in the norm of the data.
  public func fit(_ target: FitTarget) throws -> Parameters {
    let target = try target.checked(for: self)
    let fitted = try train.fit(target)
    return [
      "core0": train.parameter("core0", of: fitted).squeezed(axis: 2),
      "core1": train.parameter("core1", of: fitted).squeezed(axis: 0),
    ]
  }
}
