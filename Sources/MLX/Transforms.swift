import CMLX

private func handles(_ arrays: [MLXArray]) throws(MLXError) -> [CMLXArray?] {
  var handles: [CMLXArray?] = []
  for array in arrays { handles.append(try array.handle()) }
  return handles
}

/// The values of a function, and the gradients of its first value, a scalar, with respect to the
/// arguments at the given positions.
///
/// Throws what the function throws (as a sentence), or the error of a failed array.
public func valueAndGrad(
  _ arguments: [MLXArray], argumentNumbers: [Int],
  _ function: @escaping ([MLXArray]) throws -> [MLXArray]
) throws -> (values: [MLXArray], gradients: [MLXArray]) {
  let inputs = try handles(arguments)
  let numbers = int32(argumentNumbers)
  var values = CMLXArrays()
  var gradients = CMLXArrays()
  try withExtendedLifetime(arguments) {
    try check(
      cmlx_value_and_gradient(
        &values, &gradients, Closure(atLeast: 1, function).makeC(), inputs, inputs.count,
        numbers, numbers.count))
  }
  // MLX gives them in the order of the arguments.
  let ascending = MLXArray.take(gradients)
  let positions = argumentNumbers.map { $0 < 0 ? $0 + arguments.count : $0 }
  return (
    MLXArray.take(values),
    positions.map { position in ascending[positions.count { $0 < position }] }
  )
}

/// A function that gives a scalar function's gradient with respect to its first argument.
public func grad(_ function: @escaping (MLXArray) throws -> MLXArray) -> (MLXArray) -> MLXArray {
  { argument in
    do {
      return try valueAndGrad([argument], argumentNumbers: [0]) { [try function($0[0])] }.gradients[
        0]
    } catch {
      return MLXArray(failure: error as? MLXError ?? MLXError("\(error)"))
    }
  }
}

/// A function that gives a scalar function's gradients with respect to the arguments at the given
/// positions, by default the first.
public func grad(
  _ function: @escaping ([MLXArray]) throws -> [MLXArray], argumentNumbers: [Int] = [0]
) -> ([MLXArray]) -> [MLXArray] {
  let both = valueAndGrad(function, argumentNumbers: argumentNumbers)
  return { both($0).1 }
}

/// A function that gives a function's values and the gradients of its first value, a scalar, with
/// respect to the arguments at the given positions, by default the first.
public func valueAndGrad(
  _ function: @escaping ([MLXArray]) throws -> [MLXArray], argumentNumbers: [Int] = [0]
) -> ([MLXArray]) -> ([MLXArray], [MLXArray]) {
  { arguments in
    do {
      let (values, gradients) = try valueAndGrad(
        arguments, argumentNumbers: argumentNumbers, function)
      return (values, gradients)
    } catch {
      let failed = MLXArray(failure: error as? MLXError ?? MLXError("\(error)"))
      return ([failed], argumentNumbers.map { _ in failed })
    }
  }
}

/// The values of a function and the product of the cotangents with its Jacobian.
///
/// Throws what the function throws (as a sentence), or the error of a failed array.
public func vjp(
  _ function: @escaping ([MLXArray]) throws -> [MLXArray], primals: [MLXArray],
  cotangents: [MLXArray]
) throws -> (values: [MLXArray], gradients: [MLXArray]) {
  let inputs = try handles(primals)
  let directions = try handles(cotangents)
  var values = CMLXArrays()
  var gradients = CMLXArrays()
  try withExtendedLifetime((primals, cotangents)) {
    try check(
      cmlx_vjp(
        &values, &gradients, Closure(function).makeC(), inputs, inputs.count, directions,
        directions.count))
  }
  return (MLXArray.take(values), MLXArray.take(gradients))
}

/// The values of a function and the product of its Jacobian with the tangents.
///
/// Throws what the function throws (as a sentence), or the error of a failed array.
public func jvp(
  _ function: @escaping ([MLXArray]) throws -> [MLXArray], primals: [MLXArray],
  tangents: [MLXArray]
) throws -> (values: [MLXArray], tangents: [MLXArray]) {
  let inputs = try handles(primals)
  let directions = try handles(tangents)
  var values = CMLXArrays()
  var derivatives = CMLXArrays()
  try withExtendedLifetime((primals, tangents)) {
    try check(
      cmlx_jvp(
        &values, &derivatives, Closure(function).makeC(), inputs, inputs.count, directions,
        directions.count))
  }
  return (MLXArray.take(values), MLXArray.take(derivatives))
}

/// A function that recomputes its intermediate values in the backward pass instead of keeping
/// them; `outputs` is how many arrays it returns.
public func checkpoint(
  outputs: Int = 1, _ function: @escaping ([MLXArray]) throws -> [MLXArray]
) -> ([MLXArray]) -> [MLXArray] {
  let kept = KeptFunction { cmlx_checkpoint(&$0, Closure(function).makeC()) }
  return { kept($0, count: outputs) }
}

/// A function with a gradient of its own.
///
/// `backward` gets the primals, the cotangents of the outputs and the outputs, and returns one
/// gradient of its shape for each primal.
public struct CustomFunction {
  private let kept: KeptFunction
  private let outputs: Int

  /// Makes a function from its value and its gradient; `outputs` is how many arrays it returns.
  public init(
    outputs: Int = 1,
    forward: @escaping ([MLXArray]) throws -> [MLXArray],
    backward:
      @escaping (
        _ primals: [MLXArray], _ cotangents: [MLXArray], _ outputs: [MLXArray]
      ) throws -> [MLXArray]
  ) {
    self.outputs = outputs
    kept = KeptFunction {
      cmlx_custom_gradient(
        &$0,
        Closure { inputs in
          let results = try forward(inputs)
          guard results.count == outputs else {
            throw MLXError(
              "[custom function] expected \(outputs) outputs, got \(results.count); "
                + "say how many with `outputs`.")
          }
          return results
        }.makeC(),
        // MLX checks neither number nor shapes of what this returns.
        Closure { all in
          let primals = Array(all[..<(all.count - 2 * outputs)])
          let others = all[primals.count...]
          let gradients = try backward(
            primals, Array(others.prefix(outputs)), Array(others.suffix(outputs)))
          guard gradients.count == primals.count else {
            throw MLXError(
              "[custom function] expected a gradient for each of \(primals.count) inputs, got "
                + "\(gradients.count); return zeros where there is none.")
          }
          for (gradient, primal) in zip(gradients, primals) where gradient.failure == nil {
            guard gradient.shape == primal.shape else {
              throw MLXError(
                "[custom function] expected a gradient of its input's shape \(primal.shape), got "
                  + "\(gradient.shape).")
            }
          }
          return gradients
        }.makeC())
    }
  }

  /// The outputs.
  public func callAsFunction(_ inputs: [MLXArray]) -> [MLXArray] {
    kept(inputs, count: outputs)
  }
}
