import Foundation
import Kernels
import MLX

/// How a pair of block factors, or one Kronecker-sparse factor, is computed on a GPU.
public enum FactorMethod: String, Hashable, Sendable, Codable, CaseIterable, CodingKeyRepresentable
{
  /// One kernel of this package: for a pair the intermediate never reaches device memory.
  case kernel
  /// The same by the matrix instructions of Hopper's warpgroups, for a pair or a factor.
  case warpgroups
  /// A batch of products in place between two turns of the rows' small matrices
  /// (``/Kernels/TurnedProducts``).
  case turned
  /// Batches of matrix products that read and write in place (``/Kernels/StridedProducts``).
  case strided
  /// Composed MLX operations, the definition: permutations around a batched product.
  case composed
  /// A dense product with the matrix of the factor or the pair, formed each time unless the weights are
  /// prepared: for small matrices and many rows.
  case matrix

  /// The most numbers of a matrix that is formed.
  static let largestMatrix = 1 << 26
}

/// What a method is chosen for.
public enum FactorPurpose: Hashable, Sendable {
  /// A product whose weights change from one to the next.
  case product
  /// A product of weights that were prepared once.
  case preparedProduct
  /// The gradients of x and the weights.
  case gradients
}

/// Whether float32 products may round to TF32: MLX's own switch, on unless told otherwise.
let allowsTF32 = ProcessInfo.processInfo.environment["MLX_ENABLE_TF32"] != "0"

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

extension FactorChoice {
  /// Of the methods that can the one that is expected to be fastest, of equals the first of ``FactorMethod``'s: a
  /// dictionary has another order in every process.
  init(predictions: [FactorMethod: Double], obstacles: [FactorMethod: String]) {
    method =
      FactorMethod.allCases.filter { predictions[$0] != nil }
      .min { predictions[$0] ?? .infinity < predictions[$1] ?? .infinity } ?? .composed
    (self.predictions, self.obstacles) = (predictions, obstacles)
  }
}
