import CMLX

private func handles(of arrays: [MLXArray]) throws(MLXError) -> [CMLXArray?] {
  var handles: [CMLXArray?] = []
  for array in arrays { handles.append(try array.handle()) }
  return handles
}

/// Computes the arrays.
///
/// Throws the error of a failed array, or what went wrong while computing.
public func eval(_ arrays: [MLXArray]) throws {
  let handles = try handles(of: arrays)
  try withExtendedLifetime(arrays) { try check(cmlx_eval(handles, handles.count)) }
}

/// Computes the arrays.
///
/// Throws the error of a failed array, or what went wrong while computing.
public func eval(_ arrays: MLXArray...) throws {
  try eval(arrays)
}

/// Computes the arrays that the objects hold: models, optimisers.
///
/// Throws the error of a failed array, or what went wrong while computing.
public func eval(_ objects: any Updatable...) throws {
  try eval(objects.flatMap { $0.innerState() })
}

/// Starts computing the arrays and returns at once.
///
/// Throws the error of a failed array; what goes wrong later surfaces where the value is asked for.
public func asyncEval(_ arrays: [MLXArray]) throws {
  let handles = try handles(of: arrays)
  try withExtendedLifetime(arrays) { try check(cmlx_async_eval(handles, handles.count)) }
}

/// Starts computing the arrays and returns at once.
///
/// Throws the error of a failed array; what goes wrong later surfaces where the value is asked for.
public func asyncEval(_ arrays: MLXArray...) throws {
  try asyncEval(arrays)
}
