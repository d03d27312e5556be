import Kernels
import MLX
import OrderedCollections

/// A way to compute an operator's product.
public enum ProductPath: String, Hashable, Sendable, Codable, CaseIterable, CodingKeyRepresentable {
  /// Composed MLX operations, ``LinearOperator/apply(_:_:)``: the definition.
  case reference
  /// The kernels of this package.
  case kernels
  /// The dense weight, where it is kept.
  case dense
}

/// The path taken for a product, and why.
public struct ProductChoice: Hashable, Sendable, Codable {
  /// The path.
  public var path: ProductPath
  /// One sentence.
  public var reason: String
  /// What each path is expected to take, in seconds, where a model says so.
  public var predictions: [ProductPath: Double]

  /// Makes a choice.
  public init(
    _ path: ProductPath, because reason: String, predictions: [ProductPath: Double] = [:]
  ) {
    self.path = path
    self.reason = reason
    self.predictions = predictions
  }
}

extension LinearOperator {
  /// The composed operations, or a kept dense weight where the CPU is expected to be faster with it:
  /// this structure has no kernels.
  public func choice(shape: [Int], dtype: DType, keepsDense: Bool) -> ProductChoice {
    guard keepsDense, Device.default == .cpu, CPUModel.types.contains(dtype) else {
      return ProductChoice(.reference, because: "this structure has no kernels of its own")
    }
    let (model, rows) = (CPUModel(), shape.dropLast().reduce(1, *))
    // What goes between its stages is put into another order.
    let numbers = 4 * Double(rows) * 4 * cost.intermediates
    return ProductChoice.onCPU(
      kernels: nil,
      reference: model.composed(
        multiplyAdds: Double(rows) * cost.multiplyAdds, weights: Double(cost.parameters),
        bytes: numbers, transposes: true, type: dtype),
      dense: model.dense(rows: rows, inputs: inputs, outputs: outputs, type: dtype),
      keepsDense: keepsDense)
  }

  /// The composed operations, for want of kernels.
  public func kernelProduct(
    _ x: MLXArray, _ parameters: Parameters, bias: MLXArray?, activation: KernelActivation
  ) -> MLXArray {
    referenceProduct(x, parameters, bias: bias, activation: activation)
  }

  /// activation(apply(x) + bias), composed of MLX operations.
  public func referenceProduct(
    _ x: MLXArray, _ parameters: Parameters, bias: MLXArray? = nil,
    activation: KernelActivation = .none
  ) -> MLXArray {
    let y = apply(x, parameters)
    return activation(bias.map { y + $0 } ?? y)
  }

  /// Whether kernels apply an activation where they write, for an input of a shape and type.
  public func fusesActivation(shape: [Int], dtype: DType) -> Bool {
    choice(shape: shape, dtype: dtype, keepsDense: false).path == .kernels
  }

  /// X [..., K] → activation(Y + bias) [..., N] by the fastest path of this machine.
  ///
  /// The path is ``LinearOperator/choice(shape:dtype:keepsDense:)``'s, without a dense weight.
  public func product(
    _ x: MLXArray, _ parameters: Parameters, bias: MLXArray? = nil,
    activation: KernelActivation = .none
  ) -> MLXArray {
    switch choice(shape: x.shape, dtype: x.dtype, keepsDense: false).path {
    case .kernels: kernelProduct(x, parameters, bias: bias, activation: activation)
    case .reference, .dense: referenceProduct(x, parameters, bias: bias, activation: activation)
    }
  }
}
