import MLX
import OrderedCollections

/// A function that gives a model's values and the gradients of the first of them, a scalar, with
/// respect to its trainable parameters, by path.
///
/// An error, the function's own too, comes back as failed arrays. The model's parameters are the
/// same before and after.
public func valueAndGrad<Model: Module>(
  model: Model, _ function: @escaping (Model, [MLXArray]) throws -> [MLXArray]
) -> (Model, [MLXArray]) -> ([MLXArray], ModuleParameters) {
  { model, arguments in
    let parameters = model.trainableParameters()
    let targets = Array(parameters.values)
    let saved = targets.map { array in
      let copy = MLXArray(0)
      copy.update(array)
      return copy
    }
    // The state that the function changes is left changed, as in a plain call.
    defer { for (target, value) in zip(targets, saved) { target.update(value) } }
    do {
      let (values, gradients) = try valueAndGrad(
        saved + arguments, argumentNumbers: Array(targets.indices)
      ) { all in
        for (target, traced) in zip(targets, all) { target.update(traced) }
        return try function(model, Array(all[targets.count...]))
      }
      return (
        values,
        ModuleParameters(uniqueKeys: parameters.keys, values: gradients)
      )
    } catch {
      let failure = error as? MLXError ?? MLXError("\(error)")
      return (
        [MLXArray(failure: failure)], parameters.mapValues { _ in MLXArray(failure: failure) }
      )
    }
  }
}

/// A function that gives a model's loss, a scalar function of an input and its targets, and the
/// loss's gradients with respect to the trainable parameters, by path.
///
/// An error, the function's own too, comes back as failed arrays. The model's parameters are the
/// same before and after.
public func valueAndGrad<Model: Module>(
  model: Model, _ function: @escaping (Model, MLXArray, MLXArray) throws -> MLXArray
) -> (Model, MLXArray, MLXArray) -> (MLXArray, ModuleParameters) {
  let all = valueAndGrad(model: model) { model, arguments in
    [try function(model, arguments[0], arguments[1])]
  }
  return { model, input, targets in
    let (values, gradients) = all(model, [input, targets])
    return (values[0], gradients)
  }
}
