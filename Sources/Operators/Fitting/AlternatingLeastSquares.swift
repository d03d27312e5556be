import MLX
import OrderedCollections

/// Fits parameters on which a product depends linearly one by one (never jointly), by least
/// squares: each in turn, the others held.
///
/// min ‖A(p) X − Y‖² over one p is solved by conjugate gradients on the normal equations (CGLS:
/// Hestenes and Stiefel 1952; Björck 1996, section 7.4), which needs the product and its gradient
/// only, starts from the present value and never increases the residual. So a sweep costs a few
/// products, whatever the structure.
struct AlternatingLeastSquares {
  /// Rows X [S, K].
  let inputs: MLXArray
  /// What the rows should become, Y [S, N].
  let targets: MLXArray
  /// The structure's product of X with some parameters.
  let product: (Parameters) -> MLXArray

  /// Rounds over all parameters, at most.
  var sweeps = 10
  /// Steps of conjugate gradients a parameter and round.
  var steps = 8

  /// The regression that a target means for an operator.
  init(_ operation: some LinearOperator, _ target: FitTarget) throws {
    let inputs = try target.virtualInputs()
    self.inputs = inputs
    targets = matmul(inputs, target.weight.transposed())
    product = { operation.apply(inputs, $0) }
  }

  /// The parameters after the rounds.
  func refine(_ start: Parameters, names: [String]) throws -> Parameters {
    var residual = targets - product(start)
    return try alternating(from: start, error: norm(residual), rounds: sweeps) { parameters in
      for name in names { residual = try improve(&parameters, name, residual) }
      // Afresh, because the running residual gathers rounding errors.
      residual = targets - product(parameters)
      return try norm(residual)
    }
  }

  private func norm(_ residual: MLXArray) throws -> Double {
    Double(try sum(square(residual)).item(Float.self)).squareRoot()
  }

  /// Improves one parameter and returns the residual that is left.
  private func improve(
    _ parameters: inout Parameters, _ name: String, _ start: MLXArray
  ) throws -> MLXArray {
    guard var value = parameters[name] else { return start }
    let fixed = parameters
    let map = { (p: MLXArray) -> MLXArray in
      var moved = fixed
      moved[name] = p
      return product(moved)
    }
    func gradient(_ residual: MLXArray) throws -> MLXArray {
      try vjp({ [map($0[0])] }, primals: [value], cotangents: [residual]).gradients[0]
    }
    let tiny = MLXArray(Float.leastNormalMagnitude)
    var residual = start
    var descent = try gradient(residual)
    var direction = descent
    var size = sum(square(descent))
    for _ in 0..<steps {
      let image = map(direction)
      // Zero sizes mean that the minimum is reached; the step is then zero as well.
      let step = size / maximum(sum(square(image)), tiny)
      value = value + step * direction
      residual = residual - step * image
      descent = try gradient(residual)
      let next = sum(square(descent))
      direction = descent + (next / maximum(size, tiny)) * direction
      size = next
    }
    try eval(value, residual)
    parameters[name] = value
    return residual
  }
}

/// The best of what rounds make of a value, each of the best so far.
///
/// A round improves the value and returns its error. The first that gains nothing, or less than 0.2 %
/// of the error, is the last.
func alternating<Value>(
  from start: Value, error: Double, rounds: Int, _ round: (inout Value) throws -> Double
) rethrows -> Value {
  var (best, error) = (start, error)
  for _ in 0..<rounds {
    var value = best
    let reached = try round(&value)
    guard reached < error else { break }
    let isLast = error - reached < 2e-3 * error
    (best, error) = (value, reached)
    if isLast { break }
  }
  return best
}
