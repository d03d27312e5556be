import Kernels
import MLX
import OrderedCollections

/// The arrays of an operator by name, in its canonical order and layout.
public typealias Parameters = OrderedDictionary<String, MLXArray>

/// A linear map of K inputs to N outputs with a structure: what it computes, without its numbers.
///
/// Every structure says here, and only here, what its parameters are, what it computes from them
/// (composed of MLX operations: any shape, any type, differentiable; fast kernels are tested against
/// this), what that costs, how it approximates a dense weight, and how it has to be trained.
public protocol LinearOperator: Sendable, CustomStringConvertible {
  /// The structure with every choice made, as a checkpoint records it.
  var spec: OperatorSpec { get }

  /// K, the length of an input row.
  var inputs: Int { get }

  /// N, the length of an output row.
  var outputs: Int { get }

  /// The shape of each parameter in the canonical layout.
  var shapes: OrderedDictionary<String, [Int]> { get }

  /// What applying the operator costs.
  var cost: Cost { get }

  /// X [..., K] → Y [..., N].
  ///
  /// The sizes need not divide by anything: padding happens inside.
  func apply(_ x: MLXArray, _ parameters: Parameters) -> MLXArray

  /// The fastest path for an input of a shape and type on this machine, and why; `dense` only if
  /// the dense weight is kept beside the parameters.
  func choice(shape: [Int], dtype: DType, keepsDense: Bool) -> ProductChoice

  /// activation(``apply(_:_:)`` + bias) by the kernels of this package; where there are none for
  /// the input, composed.
  func kernelProduct(
    _ x: MLXArray, _ parameters: Parameters, bias: MLXArray?, activation: KernelActivation
  ) -> MLXArray

  /// The product of parameters that do not change, prepared for about so many rows; `nil` where there is
  /// nothing to gain.
  func prepared(
    _ parameters: Parameters, rows: Int, dtype: DType
  ) throws -> (any PreparedProduct)?

  /// The dense weight [N, K] with the same product, or `nil` where the structure has none (its
  /// product mixes rows).
  func dense(_ parameters: Parameters) -> MLXArray?

  /// The parameters that approximate a dense weight best, in `float32`.
  ///
  /// Throws where the weight does not have the shape [N, K] or is not finite.
  func fit(_ target: FitTarget) throws -> Parameters

  /// Random parameters for training from scratch, by the structure-aware rules.
  func initialize(key: MLXArray) -> Parameters

  /// What Adam's learning rate is multiplied by for each parameter, on top of the rate that suits
  /// a dense layer of the same width.
  var learningRateMultipliers: OrderedDictionary<String, Double> { get }
}

extension LinearOperator {
  /// The structure and its sizes.
  public var description: String { "\(spec) [\(outputs), \(inputs)]" }

  /// The oracle of ``dense(_:)`` for any operator that treats rows independently: the product with
  /// the identity.
  public func denseByProduct(_ parameters: Parameters) -> MLXArray {
    apply(.eye(inputs), parameters.mapValues { $0.asType(.float32) }).transposed()
  }
}
