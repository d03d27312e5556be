import Kernels
import MLX

/// An operator's product as a chain of block factors, which one kernel computes in one pass.
struct FactorChain {
  /// How many numbers a row has before the first factor and after each, padding included.
  var widths: [Int]
  /// The factors, the first one applied first.
  var factors: [BlockFactor]

  /// Rows [M, K] → [M, N], float32, on the CPU; `nil` where the kernel does not do it.
  func product(
    _ rows: MLXArray, _ weights: [MLXArray], outputs: Int, bias: MLXArray?,
    activation: KernelActivation = .none
  ) -> MLXArray? {
    guard
      let kernel = FactorChainCPU(
        rows: rows.dim(0), inputs: rows.dim(1), outputs: outputs, widths: widths, factors: factors)
    else { return nil }
    let number = weights.count
    let function = CustomFunction(
      forward: { inputs in
        [
          kernel(
            inputs[0], weights: Array(inputs[1...number]),
            bias: inputs.count > number + 1 ? inputs[number + 1] : nil, activation: activation)
        ]
      },
      backward: { primals, cotangents, _ in
        let hasBias = primals.count > number + 1
        let gradients = kernel.gradients(
          primals[0], cotangents[0], weights: Array(primals[1...number]),
          bias: hasBias ? primals[number + 1] : nil, activation: activation)
        return [gradients.x] + gradients.weights
          + (hasBias ? [sum(gradients.outputs, axis: 0)] : [])
      })
    return function([rows] + weights + [bias].compactMap(\.self))[0]
  }
}

extension BlockPair {
  /// Core 0 gives its outputs at the places where core 1 wants them.
  var chain: FactorChain {
    let inner = m1 * rank
    let pieces = BlockFactor.Axis(n0, weight: rank, output: inner)
    let ranks = BlockFactor.Axis(rank, weight: 1, output: 1)
    let first = BlockFactor(
      blocks: (.init(m1, weight: m0 * n0 * rank, input: m0, output: rank), .none),
      // The longer axis is the faster one.
      outputs: n0 >= rank ? (ranks, pieces) : (pieces, ranks),
      inner: (.none, .init(m0, weight: n0 * rank, input: 1)))
    let second = BlockFactor(
      blocks: (.init(n0, weight: inner * n1, input: inner, output: n1), .none),
      outputs: (.none, .init(n1, weight: 1, output: 1)),
      inner: (.none, .init(inner, weight: n1, input: 1)))
    return FactorChain(widths: [m0 * m1, n0 * inner, n0 * n1], factors: [first, second])
  }
}

extension KroneckerPattern {
  /// Blocks (i, l), each a dense matrix whose rows and columns are d apart.
  var blockFactor: BlockFactor {
    BlockFactor(
      blocks: (
        .init(a, weight: b * c * d, input: c * d, output: b * d),
        .init(d, weight: 1, input: 1, output: 1)
      ),
      outputs: (.none, .init(b, weight: c * d, output: d)),
      inner: (.none, .init(c, weight: d, input: d)))
  }
}

/// An operator that is a chain of pairs and factors for a GPU.
protocol FactorOperator: LinearOperator {
  /// The pairs and factors, the first one applied first.
  var steps: [FactorStep] { get }
  /// Their arrays.
  func chainWeights(_ parameters: Parameters) -> [MLXArray]
  /// Rows [M, K] → activation(Y + bias) [M, N] by the CPU's kernels, of the rows' type; `nil` where they do not do it.
  func productOnCPU(
    _ rows: MLXArray, _ weights: [MLXArray], bias: MLXArray?, activation: KernelActivation
  ) -> MLXArray?
}

/// An operator that is a chain of block factors.
///
/// Low rank is one too, but its two products run as fast on OpenBLAS (384 and 2048 wide: by 5 to 15 %
/// faster), so on a CPU it stays composed.
protocol ChainOperator: FactorOperator {
  /// The chain.
  var chain: FactorChain { get }
}

extension ChainOperator {
  /// The kernels of the device in use, or the composed operations where they are expected to be
  /// faster.
  public func choice(shape: [Int], dtype: DType, keepsDense: Bool) -> ProductChoice {
    guard Device.default == .cpu else {
      return choiceOnGPU(shape: shape, dtype: dtype, keepsDense: keepsDense)
    }
    guard CPUModel.types.contains(dtype) else {
      return ProductChoice(.reference, because: CPUModel.typesSentence)
    }
    let rows = shape.dropLast().reduce(1, *)
    guard rows > 0 else { return ProductChoice(.reference, because: "there are no rows") }
    let model = CPUModel()
    let numbers = Double(inputs + outputs)
    return ProductChoice.onCPU(
      kernels: model.chain(
        rows: rows, multiplyAdds: cost.multiplyAdds, numbers: numbers,
        parameters: Double(cost.parameters), type: dtype),
      reference: model.composed(
        multiplyAdds: Double(rows) * cost.multiplyAdds, weights: Double(cost.parameters),
        bytes: 4 * Double(rows) * (numbers + 4 * cost.intermediates), transposes: true,
        type: dtype),
      dense: model.dense(rows: rows, inputs: inputs, outputs: outputs, type: dtype),
      keepsDense: keepsDense)
  }

  /// By one pass over the rows, in float32 whatever the type of X.
  func productOnCPU(
    _ rows: MLXArray, _ weights: [MLXArray], bias: MLXArray?, activation: KernelActivation
  ) -> MLXArray? {
    guard Device.default == .cpu, CPUModel.types.contains(rows.dtype) else { return nil }
    return chain.product(
      rows.asType(.float32), weights.map { $0.asType(.float32) }, outputs: outputs,
      bias: bias?.asType(.float32), activation: activation)?.asType(rows.dtype)
  }
}

extension FactorOperator {
  func productOnCPU(
    _ rows: MLXArray, _ weights: [MLXArray], bias: MLXArray?, activation: KernelActivation
  ) -> MLXArray? { nil }

  /// The product by the kernels of the device in use, or composed where they do not do it.
  public func kernelProduct(
    _ x: MLXArray, _ parameters: Parameters, bias: MLXArray?, activation: KernelActivation
  ) -> MLXArray {
    let weights = chainWeights(parameters)
    // What has the wrong shape gets its error from the definition.
    guard x.dim(-1) == inputs, x.size > 0, weights.allSatisfy({ $0.failure == nil }),
      bias == nil || bias?.shape == [outputs]
    else { return referenceProduct(x, parameters, bias: bias, activation: activation) }
    let rows = x.reshaped(-1, inputs)
    let y =
      productOnGPU(rows, weights, bias: bias, activation: activation)
      ?? productOnCPU(rows, weights, bias: bias, activation: activation)
    return y?.reshaped(Array(x.shape.dropLast()) + [outputs])
      ?? referenceProduct(x, parameters, bias: bias, activation: activation)
  }
}

extension ProductChoice {
  /// The fastest of the expected times, in seconds.
  ///
  /// `kernels` is `nil` where there are none.
  static func onCPU(
    kernels: Double?, reference: Double, dense: Double, keepsDense: Bool
  ) -> ProductChoice {
    var predictions: [ProductPath: Double] = [.reference: reference, .dense: dense]
    predictions[.kernels] = kernels
    // The model errs by as much: a twentieth that may be gained is not worth leaving dense for.
    let path: ProductPath =
      keepsDense && dense < 1.05 * min(kernels ?? .infinity, reference)
      ? .dense : ((kernels ?? .infinity) < reference ? .kernels : .reference)
    func milliseconds(_ seconds: Double) -> String { "\((seconds * 1e5).rounded() / 100) ms" }
    return ProductChoice(
      path,
      because: "expected " + (kernels.map { "\(milliseconds($0)) by the kernels, " } ?? "")
        + "\(milliseconds(reference)) composed, \(milliseconds(dense)) dense"
        + (keepsDense ? "" : ", which is not kept"),
      predictions: predictions)
  }
}

extension Monarch: ChainOperator {
  var chain: FactorChain { pair.chain }

  var steps: [FactorStep] { [.pair(pair)] }

  func chainWeights(_ parameters: Parameters) -> [MLXArray] {
    cores.map { parameter($0.name, of: parameters) }
  }
}

extension BlockTensorTrain: ChainOperator {
  var chain: FactorChain { pair.chain }

  var steps: [FactorStep] { [.pair(pair)] }

  func chainWeights(_ parameters: Parameters) -> [MLXArray] { effectiveCores(parameters) }
}

extension KroneckerSparse: ChainOperator {
  var chain: FactorChain {
    FactorChain(
      widths: [patterns[0].inputs] + patterns.map(\.outputs), factors: patterns.map(\.blockFactor))
  }

  var steps: [FactorStep] { patterns.map { .factor($0) } }

  func chainWeights(_ parameters: Parameters) -> [MLXArray] {
    cores.map { parameter($0.name, of: parameters) }
  }
}
