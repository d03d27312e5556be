import Kernels
import MLX

/// A part of a chain that one method computes: a pair of block factors or a Kronecker-sparse factor.
enum FactorStep: Hashable, Sendable {
  case pair(BlockPair)
  case factor(KroneckerPattern)

  /// How many arrays it takes.
  var count: Int {
    switch self {
    case .pair: 2
    case .factor: 1
    }
  }

  /// The numbers of a row that comes in and goes out, padding included.
  var inputs: Int {
    switch self {
    case .pair(let pair): pair.m0 * pair.m1
    case .factor(let pattern): pattern.inputs
    }
  }

  var outputs: Int {
    switch self {
    case .pair(let pair): pair.n0 * pair.n1
    case .factor(let pattern): pattern.outputs
    }
  }

  /// Why a method cannot do the step for a type on this machine; `nil` where it can.
  func obstacle(_ method: FactorMethod, dtype: DType) -> String? {
    do throws(KernelError) {
      switch (self, method) {
      case (_, .composed): break
      case (.pair(let pair), .matrix):
        return FactorMethod.matrixObstacle(inputs: pair.m0 * pair.m1, outputs: pair.n0 * pair.n1)
      case (.factor(let pattern), .matrix):
        return pattern.matrixObstacle
      case (.pair(let pair), .kernel) where pair.shape.isLowRank:
        return "warpgroups multiply low rank"
      case (.pair(let pair), .kernel), (.pair(let pair), .warpgroups):
        _ = try PairKernels.named(
          pair.shape, dtype: dtype, byWarpgroups: method == .warpgroups)
      case (.pair, .turned):
        return "it is for single factors"
      case (.factor(let pattern), .kernel):
        _ = try KroneckerKernels.named(pattern.shape, dtype: dtype)
      case (.factor(let pattern), .turned) where pattern.d == 1:
        return "with d = 1 strided products copy nothing"
      case (.factor(let pattern), .warpgroups):
        _ = try KroneckerGroupsKernels.named(pattern.shape, dtype: dtype, allowsTF32: allowsTF32)
      case (.factor(let pattern), .turned):
        _ = try TurnedProducts.named(pattern.shape, dtype: dtype, allowsTF32: allowsTF32)
      case (.factor(let pattern), .strided) where pattern.d > 1:
        return "batch first, the rows of a block are \(pattern.d) apart"
      case (.factor(let pattern), .strided) where pattern.a == 1:
        return "the factor is a dense matrix"
      case (.pair(let pair), .strided) where pair.shape.isLowRank:
        return "two plain products copy nothing"
      case (_, .strided):
        _ = try StridedProducts.named(dtype: dtype, allowsTF32: allowsTF32)
      }
      return nil
    } catch {
      return error.description
    }
  }

  /// The compilations of this package that a method takes.
  func variants(
    _ method: FactorMethod, rows: Int, dtype: DType, gpu: GPU, epilogue: FactorEpilogue = .init(),
    gradients: Bool = false
  ) -> [KernelVariant] {
    switch (self, method) {
    case (.pair(let pair), .kernel), (.pair(let pair), .warpgroups):
      PairKernels.variants(
        pair.shape, dtype: dtype, byWarpgroups: method == .warpgroups, epilogue: epilogue,
        gradients: gradients)
    case (.factor(let pattern), .kernel) where dtype != .float32:
      KroneckerKernels.variants(
        pattern.shape, rows: rows, dtype: dtype, gpu: gpu, activation: epilogue.activation,
        gradients: gradients)
    case (.factor(let pattern), .warpgroups):
      KroneckerGroupsKernels.variants(
        pattern.shape, rows: rows, dtype: dtype, allowsTF32: allowsTF32, gpu: gpu,
        epilogue: epilogue, gradients: gradients)
    case (.factor(let pattern), .turned):
      TurnedProducts.variants(
        pattern.shape, rows: rows, dtype: dtype, allowsTF32: allowsTF32, gpu: gpu,
        epilogue: epilogue, gradients: gradients)
    default: []
    }
  }

  // MARK: - What is expected

  /// What a method is expected to take for a purpose, in seconds.
  func seconds(
    _ method: FactorMethod, for purpose: FactorPurpose, rows: Int, dtype: DType, model: FactorModel
  ) -> Double {
    let forward = seconds(method, rows: rows, dtype: dtype, model: model)
    switch purpose {
    case .preparedProduct: return forward
    case .product:
      return forward + preparation(method, dtype: dtype, model: model)
    case .gradients:
      return gradientSeconds(method, rows: rows, dtype: dtype, model: model)
        + preparation(method, dtype: dtype, model: model)
    }
  }

  /// Seconds of the product of prepared weights.
  private func seconds(
    _ method: FactorMethod, rows: Int, dtype: DType, model: FactorModel
  ) -> Double {
    let size = dtype.size
    switch (self, method) {
    case (_, .matrix):
      return model.dense(rows: rows, inputs: inputs, outputs: outputs, elementSize: size)
    case (.pair(let pair), .kernel), (.pair(let pair), .warpgroups):
      return PairKernels.seconds(
        pair.shape, byWarpgroups: method == .warpgroups, rows: rows, gpu: model.gpu
      )?.product ?? .infinity
    case (.pair(let pair), .strided):
      return model.strided(pair.shape, rows: rows, elementSize: size)
    case (.pair(let pair), .composed):
      return model.composed(pair.shape, rows: rows, elementSize: size)
    case (.pair, .turned):
      return .infinity
    case (.factor(let pattern), .kernel):
      return model.kernel(pattern.shape, rows: rows, elementSize: size) ?? .infinity
    case (.factor(let pattern), .warpgroups):
      return model.warpgroups(pattern.shape, rows: rows, elementSize: size) ?? .infinity
    case (.factor(let pattern), .turned):
      return model.turned(pattern.shape, rows: rows, elementSize: size)
    case (.factor(let pattern), .strided):
      return model.strided(pattern.shape, rows: rows, elementSize: size)
    case (.factor(let pattern), .composed):
      return model.composed(pattern.shape, rows: rows, elementSize: size)
    }
  }

  /// Seconds of what a method makes of the weights before their product.
  private func preparation(
    _ method: FactorMethod, dtype: DType, model: FactorModel
  ) -> Double {
    let size = dtype.size
    switch (self, method) {
    case (_, .matrix): return model.forming(inputs * outputs, elementSize: size)
    case (_, .composed): return 0
    case (.factor(let pattern), .strided):
      return model.merging(pattern.shape, elementSize: size)
    case (.pair(let pair), .strided):
      return pair.rank > 1
        ? model.packing(pair.m0 * pair.m1 * pair.n0 * pair.rank, elementSize: size) : 0
    case (.pair(let pair), _):
      return model.packing(pair.shape.multiplyAdds, elementSize: size)
    case (.factor(let pattern), _):
      return model.packing(pattern.nonZeros, elementSize: size)
    }
  }

  private func gradientSeconds(
    _ method: FactorMethod, rows: Int, dtype: DType, model: FactorModel
  ) -> Double {
    let size = dtype.size
    switch (self, method) {
    case (_, .matrix):
      return 2 * model.dense(rows: rows, inputs: inputs, outputs: outputs, elementSize: size)
        + model.forming(inputs * outputs, elementSize: size)
    case (_, .composed):
      return 2.5 * seconds(.composed, rows: rows, dtype: dtype, model: model)
    case (.pair(let pair), .kernel), (.pair(let pair), .warpgroups):
      return model.kernelGradients(
        pair.shape, byWarpgroups: method == .warpgroups, rows: rows) ?? .infinity
    case (.pair(let pair), .strided):
      return model.stridedGradients(pair.shape, rows: rows, elementSize: size)
    case (.pair, .turned):
      return .infinity
    case (.factor(let pattern), .turned):
      return model.turnedGradients(pattern.shape, rows: rows, elementSize: size)
    case (.factor(let pattern), .strided), (.factor(let pattern), .kernel),
      (.factor(let pattern), .warpgroups):
      let shape = pattern.shape
      let input =
        method == .kernel
        ? model.kernel(shape.transposed, rows: rows, elementSize: size)
        : method == .warpgroups
          ? model.warpgroups(shape.transposed, rows: rows, elementSize: size)
          : model.strided(shape.transposed, rows: rows, elementSize: size)
      return (input ?? .infinity) + model.weightGradient(shape, rows: rows, elementSize: size)
    }
  }

  // MARK: - The choice

  private struct Question: Hashable {
    var step: FactorStep
    var purpose: FactorPurpose
    var rows: Int
    var dtype: DType
  }

  private static let answers = Memo<Question, FactorChoice>()

  /// Of the methods that can, the one that is expected to be fastest for a purpose, with what all are
  /// expected to take and why others cannot; found once for each step, number of rows and type.
  func choice(
    for purpose: FactorPurpose, rows: Int, dtype: DType, model: FactorModel
  ) -> FactorChoice {
    let question = Question(step: self, purpose: purpose, rows: rows, dtype: dtype)
    return FactorStep.answers.value(question) {
      var predictions: [FactorMethod: Double] = [:]
      var obstacles: [FactorMethod: String] = [:]
      for method in FactorMethod.allCases {
        if let obstacle = obstacle(method, dtype: dtype) {
          obstacles[method] = obstacle
        } else {
          predictions[method] = seconds(
            method, for: purpose, rows: rows, dtype: dtype, model: model)
        }
      }
      return FactorChoice(predictions: predictions, obstacles: obstacles)
    }
  }
}
