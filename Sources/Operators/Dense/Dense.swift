import MLX
import OrderedCollections

/// The full matrix: Y = X Wᵀ.
public struct Dense: CoreProduct {
  /// K, the length of an input row.
  public let inputs: Int
  /// N, the length of an output row.
  public let outputs: Int

  /// Makes the operator of K inputs and N outputs.
  public init(inputs: Int, outputs: Int) {
    self.inputs = inputs
    self.outputs = outputs
  }

  /// `dense`.
  public var spec: OperatorSpec { .dense }

  /// `weight` [N, K].
  public var cores: [Core] {
    [Core(name: "weight", shape: [outputs, inputs], fanIn: inputs, fanOut: outputs)]
  }

  /// N·K multiply-adds a row.
  public var cost: Cost {
    Cost(parameters: inputs * outputs, multiplyAdds: Double(inputs) * Double(outputs))
  }

  /// X [..., K] → X Wᵀ [..., N].
  public func apply(_ x: MLXArray, _ parameters: Parameters) -> MLXArray {
    onRows(x) { rows, _ in
      matmul(rows, parameter("weight", of: parameters).transposed())
    }
  }

  /// The weight itself.
  public func dense(_ parameters: Parameters) -> MLXArray? {
    parameter("weight", of: parameters)
  }

  /// The weight itself, whatever the norm.
  public func fit(_ target: FitTarget) throws -> Parameters {
    ["weight": try target.checked(for: self).weight]
  }
}
