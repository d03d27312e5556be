import Kernels
import MLX

/// Where the rows of a batch lie.
public enum FactorLayout: String, Hashable, Sendable, Codable, CaseIterable {
  /// X [M, K], Y = X Wᵀ: the layout of layers.
  case first
  /// X [K, M], Y = W X.
  case last
}

extension KroneckerPattern {
  /// The method for a factor on the device in use, and what each is expected to take; on the CPU always for the
  /// product.
  ///
  /// Throws where the device is a GPU that cannot be described.
  public func choice(
    rows: Int, dtype: DType, layout: FactorLayout = .first, for purpose: FactorPurpose = .product
  ) throws -> FactorChoice {
    guard Device.default == .gpu else { return choiceOnCPU(rows: rows, dtype: dtype, layout) }
    let model = FactorModel(try GPU.current.get(), allowsTF32: allowsTF32)
    switch layout {
    case .first:
      return FactorStep.factor(self).choice(for: purpose, rows: rows, dtype: dtype, model: model)
    case .last:
      return choiceBatchLast(rows: rows, dtype: dtype, for: purpose, model: model)
    }
  }

  private func choiceBatchLast(
    rows: Int, dtype: DType, for purpose: FactorPurpose, model: FactorModel
  ) -> FactorChoice {
    let size = dtype.size
    let isPrepared = purpose == .preparedProduct
    var predictions = [
      FactorMethod.composed: model.composedBatchLast(shape, rows: rows, elementSize: size)
    ]
    let direct = d == 1 ? "MLX's own product copies nothing" : "strided products copy nothing"
    let reason = "batch last needs none: \(direct)"
    var obstacles: [FactorMethod: String] = [.kernel: reason, .warpgroups: reason, .turned: reason]
    obstacles[.matrix] = matrixObstacle
    if matrixObstacle == nil {
      predictions[.matrix] =
        model.dense(rows: rows, inputs: inputs, outputs: outputs, elementSize: size)
        + (isPrepared ? 0 : model.forming(inputs * outputs, elementSize: size))
    }
    if d == 1 {
      obstacles[.strided] = "with d = 1 \(direct)"
    } else {
      do {
        _ = try StridedProducts.named(dtype: dtype, allowsTF32: allowsTF32)
        predictions[.strided] =
          model.stridedBatchLast(shape, rows: rows, elementSize: size)
          + (isPrepared ? 0 : model.packing(nonZeros, elementSize: size))
      } catch {
        obstacles[.strided] = error.description
      }
    }
    return FactorChoice(predictions: predictions, obstacles: obstacles)
  }

  /// Compiles, on all processors, what the kernel takes for patterns on the GPU in use.
  public static func prepare(_ patterns: [KroneckerPattern], rows: Int, dtype: DType) {
    guard Device.default == .gpu, let library = try? KernelLibrary.current.get() else { return }
    library.prepare(
      patterns.flatMap { pattern in
        FactorMethod.allCases.flatMap {
          FactorStep.factor(pattern).variants($0, rows: rows, dtype: dtype, gpu: library.gpu)
        }
      })
  }

  /// Weights [a, b, c, d] as a method reads them, for products of about so many rows.
  public func prepare(
    _ w: MLXArray, by method: FactorMethod, rows: Int, layout: FactorLayout = .first
  ) -> [MLXArray] {
    switch (layout, method) {
    case (.first, _):
      return FactorStep.factor(self).prepare(method, [w], rows: rows, dtype: w.dtype)
    case (.last, .matrix): return [matrix(w)]
    case (.last, .strided): return [StridedProducts.packBatchLast(w)]
    case (.last, _): return [w]
    }
  }

  /// X [M, a·c·d] → Y [M, a·b·d] (or [a·c·d, M] → [a·b·d, M] batch last) by a method and what
  /// ``prepare(_:by:rows:layout:)`` made for it.
  public func product(
    _ x: MLXArray, prepared: [MLXArray], by method: FactorMethod, layout: FactorLayout = .first
  ) -> MLXArray {
    switch (layout, method) {
    case (.first, _):
      return FactorStep.factor(self).product(method, x, prepared: prepared)
    case (.last, .matrix): return matmul(prepared[0], x)
    case (.last, .strided):
      do {
        return try StridedProducts.named(dtype: x.dtype, allowsTF32: allowsTF32)
          .launchBatchLast(x, packed: prepared[0], shape)
      } catch {
        return MLXArray(failure: MLXError(error.description))
      }
    case (.last, _): return product(x, prepared[0], by: method, layout: layout)
    }
  }

  private func choiceOnCPU(rows: Int, dtype: DType, _ layout: FactorLayout) -> FactorChoice {
    let model = CPUModel()
    let (weights, numbers) = (Double(nonZeros), Double(inputs + outputs))
    var predictions = [
      FactorMethod.composed: model.composed(
        multiplyAdds: Double(rows) * weights, bytes: 4 * Double(rows) * numbers * 2,
        transposes: true)
    ]
    var obstacles: [FactorMethod: String] = [:]
    for method in [FactorMethod.warpgroups, .turned, .strided] {
      obstacles[method] = "\(method.rawValue) products are for GPUs"
    }
    obstacles[.matrix] = matrixObstacle
    if matrixObstacle == nil {
      predictions[.matrix] =
        model.dense(rows: rows, inputs: inputs, outputs: outputs)
        + model.composed(multiplyAdds: 0, bytes: 16 * Double(inputs) * Double(outputs))
    }
    if dtype == .float32, layout == .first {
      predictions[.kernel] = model.chain(
        rows: rows, multiplyAdds: weights, numbers: numbers, parameters: weights)
    } else {
      obstacles[.kernel] = "the CPU's kernel is for float32, batch first"
    }
    return FactorChoice(predictions: predictions, obstacles: obstacles)
  }

  /// X [M, a·c·d] (or [a·c·d, M] batch last), w [a, b, c, d] → Y [M, a·b·d] ([a·b·d, M]) by a method.
  ///
  /// A method that this machine does not have for it gives a failed array.
  public func product(
    _ x: MLXArray, _ w: MLXArray, by method: FactorMethod, layout: FactorLayout = .first
  ) -> MLXArray {
    switch (layout, method) {
    case (.last, .matrix), (.last, .strided):
      return product(
        x, prepared: prepare(w, by: method, rows: x.dim(1), layout: layout), by: method,
        layout: layout)
    case (.last, .composed):
      return matmul(
        w.transposed(0, 3, 1, 2), x.reshaped([a, c, d, x.dim(1)]).transposed(0, 2, 1, 3)
      ).transposed(0, 2, 1, 3).reshaped([outputs, x.dim(1)])
    case (.first, .kernel) where Device.default == .cpu:
      let chain = FactorChain(widths: [inputs, outputs], factors: [blockFactor])
      return chain.product(x, [w], outputs: outputs, bias: nil)
        ?? MLXArray(failure: MLXError("[\(self)] expected rows, got \(x.shape)."))
    case (.last, .kernel), (.last, .warpgroups), (.last, .turned):
      return MLXArray(failure: MLXError("[\(self)] expected batch first, got batch last."))
    case (.first, _):
      return FactorStep.factor(self).product(method, x, [w])
    }
  }

  /// The same product by `einsum`: what is usually written.
  public func einsumProduct(
    _ x: MLXArray, _ w: MLXArray, layout: FactorLayout = .first
  ) -> MLXArray {
    switch layout {
    case .first:
      einsum("mikl,ijkl->mijl", x.reshaped([x.dim(0), a, c, d]), w)
        .reshaped([x.dim(0), outputs])
    case .last:
      einsum("iklm,ijkl->ijlm", x.reshaped([a, c, d, x.dim(1)]), w)
        .reshaped([outputs, x.dim(1)])
    }
  }

  /// The least seconds that the product needs at measured rates: its bytes moved once, or its
  /// arithmetic.
  public func limit(
    rows: Int, dtype: DType, bytesPerSecond: Double, operationsPerSecond: Double
  ) -> Double {
    let numbers = Double(rows) * Double(inputs + outputs) + Double(nonZeros)
    return max(
      numbers * Double(dtype.size) / bytesPerSecond,
      2 * Double(rows) * Double(nonZeros) / operationsPerSecond)
  }
}
