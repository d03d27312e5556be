import MLX
import OrderedCollections

/// Why a weight cannot be fitted, or an error cannot be told: one sentence.
public struct FitError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The sentence.
  public let description: String

  /// Makes an error with a sentence.
  public init(_ description: String) {
    self.description = description
  }
}

extension FitTarget {
  /// The target in `float32`, with H exactly symmetric.
  ///
  /// Throws where W is not [N, K], H is not [K, K], or either is not finite.
  func checked(for operation: some LinearOperator) throws -> FitTarget {
    let (n, k) = (operation.outputs, operation.inputs)
    var target = FitTarget(weight: weight.asType(.float32))
    try Self.check(weight, [n, k], "weight", for: operation)
    if let secondMoment {
      try Self.check(secondMoment, [k, k], "second moment", for: operation)
      let moment = secondMoment.asType(.float32)
      target.secondMoment = (moment + moment.transposed()) * 0.5
    }
    return target
  }

  private static func check(
    _ array: MLXArray, _ shape: [Int], _ name: String, for operation: some LinearOperator
  ) throws {
    if let failure = array.failure { throw failure }
    guard array.shape == shape else {
      throw FitError("[fit] expected a \(name) \(shape) for \(operation), got \(array.shape).")
    }
    guard try all(isFinite(array)).item(Bool.self) else {
      throw FitError("[fit] expected a finite \(name) for \(operation), got NaN or infinity.")
    }
  }

  /// Virtual input rows X [K, K] that have the second moment H: H + εI = L Lᵀ, X = Lᵀ.
  ///
  /// Regression on them is a fit in the norm of the data. ε, as in ``ridged(_:)``, makes the Cholesky
  /// factorisation possible where H is singular (fewer samples than inputs) and lets directions that
  /// the data never excites keep to the plain norm. Without H, X = I.
  func virtualInputs() throws -> MLXArray {
    guard let secondMoment else { return .eye(weight.dim(1)) }
    return try Device.withDefaultDevice(.cpu) {
      let factor = MLXLinalg.cholesky(ridged(secondMoment), upper: true).asType(.float32)
      try eval(factor)
      return factor
    }
  }
}

/// A + εI in `float64`, on the CPU, for symmetric positive semi-definite matrices A [..., n, n] whose
/// numbers are good to `float32`.
///
/// ε is 10⁻⁶ of the trace, which bounds the largest eigenvalue: more than the rounding of A can make
/// any eigenvalue negative, and little beside those that matter.
func ridged(_ a: MLXArray) -> MLXArray {
  let wide = a.asType(.float64)
  let trace = sum(diagonal(wide, axis1: -2, axis2: -1), axis: -1)
    .expandedDimensions(axes: [-2, -1])
  let shift = maximum(trace * 1e-6, MLXArray(float64: [1e-30], []))
  return wide + shift * MLXArray.eye(a.dim(-1), dtype: .float64)
}

/// (A + εI)⁻¹ with the ε of ``ridged(_:)``; a zero matrix gives a huge multiple of I, which then only
/// multiplies zeros.
func ridgedInverse(_ a: MLXArray) throws -> MLXArray {
  try Device.withDefaultDevice(.cpu) {
    let inverse = MLXLinalg.inv(ridged(a)).asType(.float32)
    try eval(inverse)
    return inverse
  }
}

/// √(tr(Δ H Δᵀ) / tr(W H Wᵀ)) with Δ = W − Ŵ: the error of an operator's output on the data,
/// relative to the output; without H, ‖Δ‖ / ‖W‖.
///
/// A Strassen-Tile operator counts what its tiles mix as well. Throws where the operator has no
/// dense form otherwise, or the target does not have its shape.
public func relativeError(
  of operation: some LinearOperator, _ parameters: Parameters, _ target: FitTarget
) throws -> Double {
  if let tiled = operation as? StrassenTile {
    return try tiled.relativeError(parameters, target)
  }
  let target = try target.checked(for: operation)
  guard let dense = operation.dense(parameters) else {
    throw FitError(
      "[relativeError] expected an operator with a dense form, got \(operation); measure its "
        + "output on real rows.")
  }
  let difference = target.weight - dense.asType(.float32)
  let error = try squaredNorm(difference, target.secondMoment)
  let size = try squaredNorm(target.weight, target.secondMoment)
  // A zero weight is fitted without error by zeros.
  return error == 0 ? 0 : (error / size).squareRoot()
}

/// tr(A H Aᵀ), which rounding may not make negative; without H, ‖A‖².
func squaredNorm(_ a: MLXArray, _ secondMoment: MLXArray?) throws -> Double {
  let product = secondMoment.map { matmul(a, $0) } ?? a
  let norm = Double(try sum(a * product).item(Float.self))
  return norm < 0 ? 0 : norm
}
