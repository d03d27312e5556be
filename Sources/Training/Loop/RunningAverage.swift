import MLX
import MLXNN
import OrderedCollections

/// The exponential moving average of a model's trained weights: e ← d e + (1 − d) p after every
/// step, in `float32`.
///
/// Source: Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", 1992, with
/// exponential weights as in Szegedy et al., 2016, section 8.
final class RunningAverage: Updatable {
  private let decay: Float
  private(set) var values: ModuleParameters

  init(_ model: Module, decay: Double) {
    self.decay = Float(decay)
    values = model.trainableParameters().mapValues { $0.asType(.float32) + 0 }
  }

  func innerState() -> [MLXArray] { Array(values.values) }

  /// Takes in the parameters as an updater knows them.
  func update(_ model: Module, _ updater: any Updater) {
    let parameters = model.parameters()
    for (path, average) in values {
      guard let parameter = parameters[path] else { continue }
      average.update(decay * average + (1 - decay) * updater.exact(path, parameter))
    }
  }

  /// Continues from saved values.
  func restore(_ saved: [String: MLXArray]) throws {
    for (path, average) in values {
      guard let value = saved[path], value.shape == average.shape else {
        throw TrainingError(
          "[resume] expected the average of \(path) in the checkpoint, got none of its shape; "
            + "resume with the recipe that wrote it.")
      }
      average.update(value)
    }
  }

  /// Runs the body with the averages in the model's place, then puts the weights back.
  func inPlace<Result>(of model: Module, _ body: () throws -> Result) throws -> Result {
    let parameters = model.parameters().filter { values[$0.key] != nil }
    let saved = parameters.mapValues { array in
      let copy = MLXArray(0)
      copy.update(array)
      return copy
    }
    for (path, array) in parameters {
      if let value = values[path] { array.update(value.asType(array.dtype)) }
    }
    defer {
      for (path, array) in parameters {
        if let value = saved[path] { array.update(value) }
      }
    }
    return try body()
  }
}
