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

  /// x [..., K] → y [..., N], by the fastest path of this machine.
  public func callAsFunction(_ x: MLXArray) -> MLXArray {
    structure.product(x, parametersByName, bias: bias)
  }

  /// activation(y) [..., N], in one pass over y where the kernels write it so.
  public func callAsFunction(_ x: MLXArray, activation: KernelActivation) -> MLXArray {
    structure.product(x, parametersByName, bias: bias, activation: activation)
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
