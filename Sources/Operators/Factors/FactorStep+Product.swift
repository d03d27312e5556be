import Kernels
import MLX

extension FactorStep {
  /// Rows [M, inputs] → activation(y + bias) [M, outputs] by a method that has no obstacle.
  func product(
    _ method: FactorMethod, _ x: MLXArray, _ weights: [MLXArray],
    _ epilogue: FactorEpilogue = .init()
  ) -> MLXArray {
    do throws(KernelError) {
      let dtype = x.dtype
      switch (self, method) {
      case (.pair(let pair), .kernel), (.pair(let pair), .warpgroups):
        return try PairKernels.named(
          pair.shape, dtype: dtype, byWarpgroups: method == .warpgroups
        ).product(x, weights[0], weights[1], epilogue)
      case (.pair(let pair), .strided):
        return epilogue(
          try StridedProducts.named(dtype: dtype, allowsTF32: allowsTF32)
            .product(x, weights[0], weights[1], pair.shape))
      case (.pair(let pair), .composed):
        return epilogue(pair.whole(x, weights[0].asType(dtype), weights[1].asType(dtype)))
      case (.pair, .turned):
        throw KernelError("[\(name)] expected a single factor for \(method.rawValue), got a pair.")
      case (.factor(let pattern), .kernel):
        return try KroneckerKernels.named(pattern.shape, dtype: dtype)
          .product(x, weights[0], epilogue)
      case (.factor(let pattern), .warpgroups):
        return try KroneckerGroupsKernels.named(
          pattern.shape, dtype: dtype, allowsTF32: allowsTF32
        ).product(x, weights[0], epilogue)
      case (.factor(let pattern), .turned):
        return try TurnedProducts.named(pattern.shape, dtype: dtype, allowsTF32: allowsTF32)
          .product(x, weights[0], epilogue)
      case (.factor(let pattern), .strided):
        return epilogue(
          try StridedProducts.named(dtype: dtype, allowsTF32: allowsTF32)
            .product(x, weights[0], pattern.shape))
      case (.factor(let pattern), .composed):
        return epilogue(pattern.product(x, count: x.dim(0), weights[0].asType(dtype)))
      case (_, .matrix):
        return epilogue(matmul(x, transposedMatrix(weights, dtype: dtype)))
      }
    } catch {
      return MLXArray(failure: MLXError(error.description))
    }
  }

  /// The same, with the gradients of another method.
  func product(
    _ method: FactorMethod, gradientsBy other: FactorMethod, _ x: MLXArray, _ weights: [MLXArray],
    _ epilogue: FactorEpilogue = .init()
  ) -> MLXArray {
    guard method != other else { return product(method, x, weights, epilogue) }
    func result(_ method: FactorMethod, _ inputs: [MLXArray]) -> MLXArray {
      let extras = Array(inputs[(1 + weights.count)...])
      return self.product(
        method, inputs[0], Array(inputs[1...weights.count]),
        epilogue.replacing(extras, dtype: x.dtype))
    }
    let function = CustomFunction(
      forward: { [result(method, $0)] },
      backward: { primals, cotangents, _ in
        try vjp({ [result(other, $0)] }, primals: primals, cotangents: cotangents).gradients
      })
    return function([x] + weights + epilogue.arrays)[0]
  }

  /// The transposed matrix [inputs, outputs].
  private func transposedMatrix(_ weights: [MLXArray], dtype: DType) -> MLXArray {
    switch self {
    case .pair(let pair): pair.transposedMatrix(weights[0].asType(dtype), weights[1].asType(dtype))
    case .factor(let pattern): pattern.matrix(weights[0].asType(dtype)).transposed()
    }
  }

  // MARK: - Weights that do not change

  /// What a method makes of the weights once, for products of about so many rows.
  func prepare(
    _ method: FactorMethod, _ weights: [MLXArray], rows: Int, dtype: DType
  ) -> [MLXArray] {
    do throws(KernelError) {
      switch (self, method) {
      case (_, .matrix):
        // [outputs, inputs], as a dense layer's weight: cuBLASLt is a little faster on it.
        return [contiguous(transposedMatrix(weights, dtype: dtype).transposed())]
      case (.pair(let pair), .kernel), (.pair(let pair), .warpgroups):
        return [
          try PairKernels.named(
            pair.shape, dtype: dtype, byWarpgroups: method == .warpgroups
          ).pack(weights[0], weights[1])
        ]
      case (.pair(let pair), .strided):
        let products = try StridedProducts.named(dtype: dtype, allowsTF32: allowsTF32)
        return [products.pack(weights[0], pair.shape), weights[1].asType(dtype)]
      case (.factor(let pattern), .strided):
        return [
          try StridedProducts.named(dtype: dtype, allowsTF32: allowsTF32)
            .pack(weights[0], pattern.shape)
        ]
      case (.factor(let pattern), .kernel):
        return [
          try KroneckerKernels.named(pattern.shape, dtype: dtype).pack(weights[0], rows: rows)
        ]
      case (.factor(let pattern), .warpgroups):
        return [
          try KroneckerGroupsKernels.named(pattern.shape, dtype: dtype, allowsTF32: allowsTF32)
            .pack(weights[0], rows: rows)
        ]
      case (.factor(let pattern), .turned):
        return [
          try TurnedProducts.named(pattern.shape, dtype: dtype, allowsTF32: allowsTF32)
            .pack(weights[0], rows: rows)
        ]
      default: return weights.map { $0.asType(dtype) }
      }
    } catch {
      return [MLXArray(failure: MLXError(error.description))]
    }
  }

  /// ``product(_:_:_:_:)`` of what ``prepare(_:_:rows:dtype:)`` made for about as many rows; without a
  /// gradient.
  func product(
    _ method: FactorMethod, _ x: MLXArray, prepared: [MLXArray],
    _ epilogue: FactorEpilogue = .init()
  ) -> MLXArray {
    if let failure = prepared.lazy.compactMap(\.failure).first { return MLXArray(failure: failure) }
    do throws(KernelError) {
      let dtype = x.dtype
      switch (self, method) {
      case (_, .matrix): return epilogue(matmul(x, prepared[0].transposed()))
      case (.pair(let pair), .kernel), (.pair(let pair), .warpgroups):
        return try PairKernels.named(
          pair.shape, dtype: dtype, byWarpgroups: method == .warpgroups
        ).launch(x, packed: prepared[0], epilogue)
      case (.pair(let pair), .strided):
        return epilogue(
          try StridedProducts.named(dtype: dtype, allowsTF32: allowsTF32)
            .launch(x, packed: prepared[0], prepared[1], pair.shape))
      case (.factor(let pattern), .strided):
        return epilogue(
          try StridedProducts.named(dtype: dtype, allowsTF32: allowsTF32)
            .launch(x, packed: prepared[0], pattern.shape))
      case (.factor(let pattern), .kernel):
        return try KroneckerKernels.named(pattern.shape, dtype: dtype)
          .launch(x, packed: prepared[0], epilogue)
      case (.factor(let pattern), .warpgroups):
        return try KroneckerGroupsKernels.named(
          pattern.shape, dtype: dtype, allowsTF32: allowsTF32
        ).launch(x, packed: prepared[0], epilogue)
      case (.factor(let pattern), .turned):
        return try TurnedProducts.named(pattern.shape, dtype: dtype, allowsTF32: allowsTF32)
          .launch(x, packed: prepared[0], epilogue)
      default: return product(method, x, prepared, epilogue)
      }
    } catch {
      return MLXArray(failure: MLXError(error.description))
    }
  }
}

extension BlockPair {
  /// The pair as the kernels take it.
  var shape: PairShape { PairShape(m0: m0, m1: m1, n0: n0, n1: n1, rank: rank) }

  /// Rows [M, m0·m1] → [M, n0·n1], padding included.
  func whole(_ rows: MLXArray, _ core0: MLXArray, _ core1: MLXArray) -> MLXArray {
    var padded = self
    (padded.inputs, padded.outputs) = (m0 * m1, n0 * n1)
    return padded.product(rows, count: rows.dim(0), core0, core1)
  }

  /// The transposed matrix [m1·m0, n0·n1], padding included: Σ over s of core 0 [i, p, (j, s)] times core 1
  /// [j, (i, s), q] at ((i, p), (j, q)).
  func transposedMatrix(_ core0: MLXArray, _ core1: MLXArray) -> MLXArray {
    let first = core0.reshaped(m1, m0, n0, rank).transposed(0, 2, 1, 3)
    let second = core1.reshaped(n0, m1, rank, n1).transposed(1, 0, 2, 3)
    return matmul(first, second).transposed(0, 2, 1, 3).reshaped(m1 * m0, n0 * n1)
  }
}

extension FactorMethod {
  /// Why a matrix is not formed, if it is not.
  static func matrixObstacle(inputs: Int, outputs: Int) -> String? {
    Double(inputs) * Double(outputs) > Double(largestMatrix)
      ? "the matrix has more than \(largestMatrix) numbers" : nil
  }
}

extension KroneckerPattern {
  /// Why its matrix is not formed, if it is not.
  var matrixObstacle: String? {
    FactorMethod.matrixObstacle(inputs: inputs, outputs: outputs)
  }

  /// The pattern as the kernels take it.
  public var shape: KroneckerShape { KroneckerShape(a, b, c, d) }
}
