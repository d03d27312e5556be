import Foundation
import Kernels
import MLX

extension FactorOperator {
  /// The kernels and strided products on an NVIDIA GPU, by ``/Kernels/FactorModel``; the composed
  /// operations where these are expected to be as fast.
  func choiceOnGPU(shape: [Int], dtype: DType, keepsDense: Bool) -> ProductChoice {
    let rows = shape.dropLast().reduce(1, *)
    guard rows > 0 else { return ProductChoice(.reference, because: "there are no rows") }
    let gpu: GPU
    switch GPU.current {
    case .success(let found): gpu = found
    case .failure(let error): return ProductChoice(.reference, because: error.description)
    }
    guard dtype.kernelElement != nil else {
      return ProductChoice(
        .reference, because: "there are no kernels for \(dtype.rawValue) on a GPU")
    }
    let model = FactorModel(gpu, allowsTF32: allowsTF32)
    let parts = ChainPart.fastest(
      of: steps, isPrepared: false, rows: rows, dtype: dtype, model: model)
    let choices = parts.map {
      $0.step.choice(for: .product, rows: rows, dtype: dtype, model: model)
    }
    // Columns that pad x are copied, and those that pad y.
    let whole = model.limit(
      numbers: 2 * Double(rows) * Double(inputs + outputs), multiplyAdds: 0,
      elementSize: dtype.size)
    let isPadded = steps.first?.inputs != inputs || steps.last?.outputs != outputs
    let padding = isPadded ? whole : 0
    let kernels = zip(parts, choices).reduce(padding) {
      $0 + $1.0.mergingSeconds(model: model) + $1.1.seconds
    }
    let reference = steps.reduce(padding) {
      let choice = $1.choice(for: .product, rows: rows, dtype: dtype, model: model)
      return $0 + (choice.predictions[.composed] ?? 0)
    }
    let dense = model.dense(
      rows: rows, inputs: inputs, outputs: outputs, elementSize: dtype.size)
    let isOwn = parts.count < steps.count || choices.contains { $0.method != .composed }
    let path: ProductPath =
      keepsDense && dense < min(kernels, reference)
      ? .dense : isOwn ? .kernels : .reference
    let ways = zip(parts, choices).map { part, choice in
      "\(part.name) by \(choice.method.rawValue) (\(choice.reason))"
    }
    return ProductChoice(
      path,
      because: ways.joined(separator: ", then ")
        + String(format: ", dense %.4f ms", dense * 1e3)
        + (keepsDense ? "" : ", which is not kept"),
      predictions: isOwn
        ? [.kernels: kernels, .reference: reference, .dense: dense]
        : [.reference: reference, .dense: dense])
  }

  /// Rows [M, K] → activation(Y + bias) [M, N] on a GPU, each step by the method expected to be
  /// fastest; `nil` where there is no GPU or the type is none of theirs.
  func productOnGPU(
    _ rows: MLXArray, _ weights: [MLXArray], bias: MLXArray?, activation: KernelActivation
  ) -> MLXArray? {
    guard Device.default == .gpu, rows.dtype.kernelElement != nil,
      let gpu = try? GPU.current.get(), let last = steps.last
    else { return nil }
    let model = FactorModel(gpu, allowsTF32: allowsTF32)
    let count = rows.dim(0)
    let epilogue = FactorEpilogue(bias: bias?.asType(rows.dtype), activation: activation)
    let isPadded = last.outputs != outputs
    var y = paddedColumns(rows, to: steps[0].inputs)
    var rest = weights[...]
    let parts = ChainPart.fastest(
      of: steps, isPrepared: false, rows: count, dtype: rows.dtype, model: model)
    for (index, part) in parts.enumerated() {
      let step = part.step
      func method(_ purpose: FactorPurpose) -> FactorMethod {
        step.choice(for: purpose, rows: count, dtype: rows.dtype, model: model).method
      }
      let isLast = index == parts.count - 1
      y = step.product(
        method(.product), gradientsBy: method(.gradients), y,
        part.weights(Array(rest.prefix(part.count)), dtype: rows.dtype),
        isLast && !isPadded ? epilogue : .init())
      rest = rest.dropFirst(part.count)
    }
    return isPadded ? epilogue(y[0..., 0..<outputs]) : y
  }

  /// Each step's weights as the method for them reads them, or the whole's matrix where one dense product is
  /// expected to be as fast; `nil` where there is no GPU or the type is none of theirs.
  public func prepared(
    _ parameters: Parameters, rows: Int, dtype: DType
  ) throws -> (any PreparedProduct)? {
    guard Device.default == .gpu, dtype.kernelElement != nil, rows > 0,
      let gpu = try? GPU.current.get()
    else { return nil }
    let model = FactorModel(gpu, allowsTF32: allowsTF32)
    let parts = ChainPart.fastest(
      of: steps, isPrepared: true, rows: rows, dtype: dtype, model: model)
    let choices = parts.map {
      $0.step.choice(for: .preparedProduct, rows: rows, dtype: dtype, model: model)
    }
    let size = dtype.size
    if parts.count > 1, Double(inputs) * Double(outputs) <= Double(FactorMethod.largestMatrix),
      model.dense(rows: rows, inputs: inputs, outputs: outputs, elementSize: size)
        < choices.reduce(0, { $0 + $1.seconds }),
      let matrix = dense(parameters)
    {
      return PreparedMatrix(weight: contiguous(matrix.asType(dtype)), dtype: dtype)
    }
    var rest = chainWeights(parameters)[...]
    let arrays = zip(parts, choices).map { part, choice in
      defer { rest = rest.dropFirst(part.count) }
      return part.step.prepare(
        choice.method, part.weights(Array(rest.prefix(part.count)), dtype: dtype), rows: rows,
        dtype: dtype)
    }
    return PreparedChain(
      inputs: inputs, outputs: outputs, parts: parts, methods: choices.map(\.method),
      weights: arrays, rows: FactorModel.plannedRows(rows), dtype: dtype)
  }
}

extension FactorStep {
  /// What messages call it.
  var name: String {
    switch self {
    case .pair(let pair):
      "pair \(pair.m0)x\(pair.m1)→\(pair.n0)x\(pair.n1) rank \(pair.rank)"
    case .factor(let pattern): "factor \(pattern)"
    }
  }
}

extension LowRank: FactorOperator {
  var steps: [FactorStep] {
    [
      .pair(
        BlockPair(
          inputs: inputs, outputs: outputs, m0: inputs, m1: 1, n0: 1, n1: outputs, rank: rank))
    ]
  }

  func chainWeights(_ parameters: Parameters) -> [MLXArray] {
    ["v", "u"].map { parameter($0, of: parameters).transposed().expandedDimensions(axis: 0) }
  }

  /// One kernel on a GPU whose multiprocessors hold both factors, where it is expected to be faster; else the
  /// composed operations, two plain products.
  public func choice(shape: [Int], dtype: DType, keepsDense: Bool) -> ProductChoice {
    Device.default == .gpu && dtype.kernelElement != nil
      ? choiceOnGPU(shape: shape, dtype: dtype, keepsDense: keepsDense)
      : ProductChoice(
        .reference,
        because: "two plain matrix products, which the engine's own multiplication does in place")
  }
}
