import Kernels
import MLX

/// An operator's product with weights that do not change: what can be made of them once is made.
///
/// There is no gradient.
public protocol PreparedProduct {
  /// What is kept instead of the parameters.
  var arrays: [MLXArray] { get }

  /// By which way, in words.
  var method: String { get }

  /// Rows [M, K] → activation(y + bias) [M, N]; `nil` where it was not prepared for such rows.
  func callAsFunction(
    _ rows: MLXArray, bias: MLXArray?, activation: KernelActivation
  ) -> MLXArray?
}

extension LinearOperator {
  /// None: this structure has nothing to prepare.
  public func prepared(
    _ parameters: Parameters, rows: Int, dtype: DType
  ) throws -> (any PreparedProduct)? { nil }
}

/// A plain product with a matrix that was formed once.
struct PreparedMatrix: PreparedProduct {
  /// [N, K].
  let weight: MLXArray
  let dtype: DType

  var arrays: [MLXArray] { [weight] }

  var method: String { "a dense product" }

  func callAsFunction(
    _ rows: MLXArray, bias: MLXArray?, activation: KernelActivation
  ) -> MLXArray? {
    guard rows.dtype == dtype else { return nil }
    return FactorEpilogue(bias: bias?.asType(dtype), activation: activation)(
      matmul(rows, weight.transposed()))
  }
}

/// A chain of factors, each part's weights as its method reads them.
struct PreparedChain: PreparedProduct {
  let inputs: Int, outputs: Int
  let parts: [ChainPart]
  let methods: [FactorMethod]
  /// The arrays of each part.
  let weights: [[MLXArray]]
  /// The planned rows that they suit.
  let rows: Int
  let dtype: DType

  var arrays: [MLXArray] { weights.flatMap(\.self) }

  var method: String {
    zip(parts, methods).map { "\($0.name) by \($1.rawValue)" }.joined(separator: ", then ")
  }

  func callAsFunction(
    _ x: MLXArray, bias: MLXArray?, activation: KernelActivation
  ) -> MLXArray? {
    guard x.dtype == dtype, x.dim(0) > 0, FactorModel.plannedRows(x.dim(0)) == rows else {
      return nil
    }
    let epilogue = FactorEpilogue(bias: bias?.asType(dtype), activation: activation)
    let isPadded = parts.last?.step.outputs != outputs
    var y = paddedColumns(x, to: parts[0].step.inputs)
    for (index, part) in parts.enumerated() {
      let isLast = index == parts.count - 1
      y = part.step.product(
        methods[index], y, prepared: weights[index], isLast && !isPadded ? epilogue : .init())
    }
    return isPadded ? epilogue(y[0..., 0..<outputs]) : y
  }
}
