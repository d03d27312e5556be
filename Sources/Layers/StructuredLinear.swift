import Kernels
import MLX
import MLXNN
import Operators
import OrderedCollections

/// A linear layer with a structure in place of a dense weight: y = operator(x) + bias.
///
/// x [..., K] → y [..., N]. In a checkpoint its parameters are `<layer>.<structure>.<parameter>` and
/// `<layer>.bias`, in the structure's canonical layout, whatever computes the product.
public final class StructuredLinear: Module, UnaryLayer {
  /// What the layer computes.
  public let structure: any LinearOperator

  /// The structure's parameters by name.
  @ParameterInfo public var values: [String: MLXArray]

  /// [N], if the layer has one.
  @ParameterInfo public var bias: MLXArray?

  /// What was made of `source` once.
  private var prepared: (product: any PreparedProduct, source: [ObjectIdentifier: MLXArray])?

  /// Makes a layer from parameters.
  ///
  /// Throws, with both shapes, if a parameter is missing or does not have its shape.
  public init(
    _ structure: any LinearOperator, parameters: Parameters, bias: MLXArray? = nil
  ) throws {
    self.structure = structure
    for (name, shape) in structure.shapes {
      guard let array = parameters[name] else {
        throw LayerError("[\(structure)] expected a parameter \(name) \(shape), got none.")
      }
      if let failure = array.failure { throw failure }
      guard array.shape == shape else {
        throw LayerError("[\(structure)] expected \(name) of shape \(shape), got \(array.shape).")
      }
    }
    if let bias, bias.shape != [structure.outputs] {
      throw LayerError("[\(structure)] expected bias [\(structure.outputs)], got \(bias.shape).")
    }
    let known = parameters.filter { structure.shapes[$0.key] != nil }
    _values = ParameterInfo(
      wrappedValue: Dictionary(uniqueKeysWithValues: known.map { ($0.key, $0.value) }),
      key: structure.spec.checkpointName)
    _bias = ParameterInfo(wrappedValue: bias)
    super.init()
  }

  /// Makes a layer with random parameters for training from scratch.
  ///
  /// Throws if the structure does not fit the sizes.
  public convenience init(
    _ spec: OperatorSpec, inputs: Int, outputs: Int, bias: Bool = true, key: MLXArray
  ) throws {
    let structure = try spec.makeOperator(inputs: inputs, outputs: outputs)
    try self.init(
      structure, parameters: structure.initialize(key: key),
      bias: bias ? MLXArray.zeros([outputs]) : nil)
  }

  /// The parameters in the structure's order.
  public var parametersByName: Parameters {
    Parameters(
      uniqueKeysWithValues: structure.shapes.keys.compactMap { name in
        values[name].map { (name, $0) }
      })
  }

  /// Makes of the parameters what products of about so many rows gain from, for as long as the parameters
  /// stay: a packed or compressed weight, or a dense one.
  ///
  /// Returns the way in words, `nil` where there is nothing to gain. Afterwards the layer's product has no
  /// gradient for these parameters; new ones (an optimizer's, a checkpoint's) are multiplied as before.
  @discardableResult
  public func prepare(rows: Int, dtype: DType) throws -> String? {
    prepared = nil
    guard let product = try structure.prepared(parametersByName, rows: rows, dtype: dtype) else {
      return nil
    }
    try eval(product.arrays)
    prepared = (
      product, Dictionary(values.values.map { (ObjectIdentifier($0), $0) }) { first, _ in first }
    )
    return product.method
  }

  /// x [..., K] → y [..., N], by the fastest path of this machine.
  public func callAsFunction(_ x: MLXArray) -> MLXArray {
    self(x, activation: .none)
  }

  /// activation(y) [..., N], in one pass over y where the kernels write it so.
  public func callAsFunction(_ x: MLXArray, activation: KernelActivation) -> MLXArray {
    if let prepared, x.dim(-1) == structure.inputs, x.size > 0,
      values.values.allSatisfy({ prepared.source[ObjectIdentifier($0)] != nil }),
      let y = prepared.product(
        x.reshaped(-1, structure.inputs), bias: bias, activation: activation)
    {
      return y.reshaped(Array(x.shape.dropLast()) + [structure.outputs])
    }
    return structure.product(x, parametersByName, bias: bias, activation: activation)
  }

  /// The dense layer with the same product, if the structure has one.
  public func densified() -> Linear? {
    structure.dense(parametersByName).map { Linear(weight: $0, bias: bias) }
  }
}

extension OperatorSpec {
  /// The part of a tensor's name that says which structure it belongs to.
  var checkpointName: String {
    switch self {
    case .dense: "dense"
    case .lowRank: "lowrank"
    case .kronecker: "kronecker"
    case .tensorTrain: "tt"
    case .monarch: "monarch"
    case .blockTensorTrain: "btt"
    case .kroneckerSparse: "ks"
    case .strassenTile: "stl"
    case .twoFour: "two_four"
    }
  }
}

/// What is wrong with a layer: one sentence.
public struct LayerError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The sentence.
  public let description: String

  /// Makes an error.
  public init(_ description: String) {
    self.description = description
  }
}
