import Foundation
import Kernels
import MLX
import Synchronization

/// How a pair of block factors, or one Kronecker-sparse factor, is computed on a GPU.
public enum FactorMethod: String, Hashable, Sendable, Codable, CaseIterable {
  /// One kernel of this package: for a pair the intermediate never reaches device memory.
  case kernel
  /// Batches of matrix products that read and write in place (``/Kernels/StridedProducts``).
  case strided
  /// Composed MLX operations, the definition: permutations around a batched product.
  case composed
  /// A dense product with the factor's matrix, formed each time: for small matrices and many rows.
  case matrix

  /// The most numbers of a matrix that is formed.
  static let largestMatrix = 1 << 26
}

/// Whether float32 products may round to TF32: MLX's own switch, on unless told otherwise.
let allowsTF32 = ProcessInfo.processInfo.environment["MLX_ENABLE_TF32"] != "0"

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
      case (.pair, .matrix): return "a pair's matrix is the layer's dense weight"
      case (.factor(let pattern), .matrix):
        return pattern.matrixObstacle
      case (.pair(let pair), .kernel):
        _ = try PairKernels.named(pair.shape, dtype: dtype)
      case (.factor(let pattern), .kernel):
        _ = try KroneckerKernels.named(pattern.shape, dtype: dtype)
      case (.factor(let pattern), .strided) where pattern.d > 1:
        return "batch first, the rows of a block are \(pattern.d) apart"
      case (_, .strided):
        _ = try StridedProducts.named(dtype: dtype, allowsTF32: allowsTF32)
      }
      return nil
    } catch {
      return error.description
    }
  }

  /// The compilations of this package that the kernel takes.
  func variants(
    rows: Int, dtype: DType, gpu: GPU, activation: KernelActivation, gradients: Bool
  ) -> [KernelVariant] {
    switch self {
    case .pair(let pair):
      PairKernels.variants(
        pair.shape, dtype: dtype, activation: activation, gradients: gradients)
    case .factor(let pattern):
      KroneckerKernels.variants(
        pattern.shape, rows: rows, dtype: dtype, gpu: gpu, activation: activation,
        gradients: gradients)
    }
  }

  /// What a method is expected to take, in seconds.
  func seconds(_ method: FactorMethod, rows: Int, dtype: DType, model: FactorModel) -> Double {
    let size = dtype.size
    switch (self, method) {
    case (.pair(let pair), .kernel):
      return PairPlan.named(pair.shape)?.seconds(rows: rows, gpu: model.gpu) ?? .infinity
    case (.pair(let pair), .strided):
      return model.strided(pair.shape, rows: rows, elementSize: size)
    case (.pair(let pair), .composed):
      return model.composed(pair.shape, rows: rows, elementSize: size)
    case (.pair, .matrix):
      return .infinity
    case (.factor(let pattern), .matrix):
      return model.matrix(pattern.shape, rows: rows, elementSize: size)
    case (.factor(let pattern), .kernel):
      return model.kernel(pattern.shape, rows: rows, elementSize: size) ?? .infinity
    case (.factor(let pattern), .strided):
      return model.strided(pattern.shape, rows: rows, elementSize: size)
    case (.factor(let pattern), .composed):
      return model.composed(pattern.shape, rows: rows, elementSize: size)
    }
  }

  /// Rows [M, inputs] → activation(y + bias) [M, outputs] by a method that has no obstacle.
  func product(
    _ method: FactorMethod, _ x: MLXArray, _ weights: [MLXArray],
    _ epilogue: FactorEpilogue = .init()
  ) -> MLXArray {
    do throws(KernelError) {
      switch (self, method) {
      case (.pair(let pair), .kernel):
        return try PairKernels.named(pair.shape, dtype: x.dtype)
          .product(x, weights[0], weights[1], epilogue)
      case (.pair(let pair), .strided):
        return epilogue(
          try StridedProducts.named(dtype: x.dtype, allowsTF32: allowsTF32)
            .product(x, weights[0], weights[1], pair.shape))
      case (.pair(let pair), .composed), (.pair(let pair), .matrix):
        return epilogue(pair.whole(x, weights[0].asType(x.dtype), weights[1].asType(x.dtype)))
      case (.factor(let pattern), .kernel):
        return try KroneckerKernels.named(pattern.shape, dtype: x.dtype)
          .product(x, weights[0], epilogue)
      case (.factor(let pattern), .strided):
        return epilogue(
          try StridedProducts.named(dtype: x.dtype, allowsTF32: allowsTF32)
            .product(x, weights[0], pattern.shape))
      case (.factor(let pattern), .matrix):
        return epilogue(matmul(x, pattern.matrix(weights[0].asType(x.dtype)).transposed()))
      case (.factor(let pattern), .composed):
        return epilogue(pattern.product(x, count: x.dim(0), weights[0].asType(x.dtype)))
      }
    } catch {
      return MLXArray(failure: MLXError(error.description))
    }
  }

  private struct Question: Hashable {
    var step: FactorStep
    var rows: Int
    var dtype: DType
  }

  private static let answers = Mutex<[Question: FactorChoice]>([:])

  /// Of the methods that can, the one that is expected to be fastest, with what all are expected to
  /// take and why others cannot; found once for each step, number of rows and type.
  func choice(rows: Int, dtype: DType, model: FactorModel) -> FactorChoice {
    let question = Question(step: self, rows: rows, dtype: dtype)
    if let known = FactorStep.answers.withLock({ $0[question] }) { return known }
    var predictions: [FactorMethod: Double] = [:]
    var obstacles: [FactorMethod: String] = [:]
    for method in FactorMethod.allCases {
      if let obstacle = obstacle(method, dtype: dtype) {
        obstacles[method] = obstacle
      } else {
        predictions[method] = seconds(method, rows: rows, dtype: dtype, model: model)
      }
    }
    let best = predictions.min { $0.value < $1.value }
    let choice = FactorChoice(
      method: best?.key ?? .composed, predictions: predictions, obstacles: obstacles)
    FactorStep.answers.withLock { $0[question] = choice }
    return choice
  }
}

/// The method taken for a pair or a factor, and why.
public struct FactorChoice: Hashable, Sendable, Codable {
  /// The method.
  public var method: FactorMethod
  /// What each method that can is expected to take, in seconds.
  public var predictions: [FactorMethod: Double]
  /// Why the others cannot.
  public var obstacles: [FactorMethod: String]

  /// The seconds of the method taken.
  public var seconds: Double { predictions[method] ?? .infinity }

  /// One clause: all that was expected.
  public var reason: String {
    FactorMethod.allCases.compactMap { method in
      if let seconds = predictions[method] {
        return "\(method.rawValue) \(String(format: "%.4f ms", seconds * 1e3))"
      }
      return obstacles[method].map { "\(method.rawValue): \($0)" }
    }.joined(separator: ", ")
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
}

extension KroneckerPattern {
  /// Why its matrix is not formed, if it is not.
  var matrixObstacle: String? {
    let numbers = Double(inputs) * Double(outputs)
    return numbers > Double(FactorMethod.largestMatrix)
      ? "the matrix has more than \(FactorMethod.largestMatrix) numbers" : nil
  }

  /// The pattern as the kernels take it.
  public var shape: KroneckerShape { KroneckerShape(a, b, c, d) }
}
