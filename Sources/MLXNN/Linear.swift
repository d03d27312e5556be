import Kernels
import MLX

/// A dense linear layer: Y = X Wᵀ + b for X [..., K] → Y [..., N].
///
/// `weight` is [N, K] and `bias`, if any, [N]. Cost: N·K multiply-adds a row.
open class Linear: Module, UnaryLayer {
  /// W [N, K].
  public let weight: MLXArray
  /// The bias [N], if any.
  public let bias: MLXArray?

  /// K, the size of the last axis of the input.
  public var inputDimensions: Int { weight.dim(1) }

  /// N, the size of the last axis of the output.
  public var outputDimensions: Int { weight.dim(0) }

  /// A layer with weight and bias spread evenly over ±1/√K.
  public init(
    _ inputDimensions: Int, _ outputDimensions: Int, bias: Bool = true, key: MLXArray? = nil
  ) {
    let scale = (1 / Double(max(1, inputDimensions))).squareRoot()
    let keys = key.map { MLXRandom.split(key: $0) }
    weight = MLXRandom.uniform(
      low: -scale, high: scale, [outputDimensions, inputDimensions], key: keys?.0)
    self.bias =
      bias
      ? MLXRandom.uniform(low: -scale, high: scale, [outputDimensions], key: keys?.1) : nil
  }

  /// A layer with the given weight [N, K] and bias [N].
  public init(weight: MLXArray, bias: MLXArray? = nil) {
    self.weight = weight
    self.bias = bias
  }

  /// The output [..., N] for an input [..., K].
  open func callAsFunction(_ x: MLXArray) -> MLXArray {
    guard let bias else { return matmul(x, weight.T) }
    return isSummedByKernel(x, bias) ? product(x, bias) : addMM(bias, x, weight.T)
  }

  /// Whether a kernel sums the gradient of the bias.
  private func isSummedByKernel(_ x: MLXArray, _ bias: MLXArray) -> Bool {
    Device.default == .gpu && x.ndim > 1 && x.dtype == weight.dtype && bias.dtype == x.dtype
      && x.dtype.kernelElement != nil && x.failure == nil && x.dim(x.ndim - 1) == weight.dim(1)
  }

  /// The same product with a gradient of the bias that reads the cotangent once.
  private func product(_ x: MLXArray, _ bias: MLXArray) -> MLXArray {
    let (inputs, outputs) = (inputDimensions, outputDimensions)
    let function = CustomFunction { primals in
      [addMM(primals[2], primals[0], primals[1].T)]
    } backward: { primals, cotangents, _ in
      let rows = cotangents[0].reshaped(-1, outputs)
      return [
        matmul(cotangents[0], primals[1]), matmul(rows.T, primals[0].reshaped(-1, inputs)),
        TrainingKernels.columnSum(rows) ?? rows.sum(axis: 0),
      ]
    }
    return function([x, weight, bias])[0]
  }
}
