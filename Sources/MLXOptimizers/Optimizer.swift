import MLX
import MLXNN
import OrderedCollections

/// Changes a model's parameters along gradients.
///
/// An update, like every operation, is computed when its results are asked for: evaluate the model
/// and the optimiser after each, with `eval(model, optimizer)`. A training step under `compile` has the model and the optimiser in `inputs` and in `outputs`,
/// after ``initialize(for:)``; the learning rate is state, and is set between the steps.
public protocol Optimizer: Updatable {
  /// The learning rate of the next update.
  var learningRate: Float { get set }

  /// Makes the state of the model's trainable parameters that have none yet, and drops that of
  /// parameters that the model no longer has.
  func initialize(for model: Module)

  /// Changes the parameters that have gradients, by path.
  ///
  /// Throws, before anything has changed, if a gradient failed, has no parameter or another shape.
  func update(model: Module, gradients: ModuleParameters) throws

  /// What has to be saved to continue later: `step`, `learningRate` and, under
  /// `<path>.<name>`, the state of each parameter.
  var state: OrderedDictionary<String, MLXArray> { get }

  /// Continues from a saved ``state``.
  ///
  /// Throws, before anything has changed, if it is not the state of this kind of optimiser for the
  /// trainable parameters of this model.
  func restore(
    _ state: some Sequence<(key: String, value: MLXArray)>, for model: Module
  ) throws
}

/// How the optimiser treats one parameter.
public struct ParameterGroup: Hashable, Sendable {
  /// What the learning rate is multiplied by.
  public var learningRateMultiplier: Float
  /// Whether weight decay applies, as is usual for matrices and not for biases and norms.
  public var weightDecay: Bool

  /// A treatment; by default the ordinary one.
  public init(learningRateMultiplier: Float = 1, weightDecay: Bool = true) {
    self.learningRateMultiplier = learningRateMultiplier
    self.weightDecay = weightDecay
  }
}

/// What is wrong with gradients or a saved state that an optimiser is to take.
public enum OptimizerError: Error, Hashable, Sendable, CustomStringConvertible {
  /// A gradient for a path without a parameter.
  case unknownGradient(path: String)
  /// A gradient of another shape than its parameter.
  case wrongGradient(path: String, expected: [Int], got: [Int])
  /// State that the optimiser does not have.
  case unknownState(key: String)
  /// State that the optimiser needs.
  case missingState(key: String)
  /// State of another shape than its parameter.
  case wrongState(key: String, expected: [Int], got: [Int])

  /// The sentence.
  public var description: String {
    switch self {
    case .unknownGradient(let path):
      return "[optimizer] expected gradients of the model's parameters, got one for \"\(path)\"; "
        + "take them from valueAndGrad(model:_:) of this model."
    case .wrongGradient(let path, let expected, let got):
      return "[optimizer] expected the gradient of \"\(path)\" of shape \(expected), got \(got); "
        + "take it from valueAndGrad(model:_:) of this model."
    case .unknownState(let key):
      return "[optimizer] expected the state of this optimiser and model, got \"\(key)\" as well; "
        + "restore with the optimiser and the frozen parameters that saved it."
    case .missingState(let key):
      return "[optimizer] expected the state of this optimiser and model, got none for \"\(key)\"; "
        + "restore with the optimiser and the frozen parameters that saved it."
    case .wrongState(let key, let expected, let got):
      return "[optimizer] expected the state \"\(key)\" of shape \(expected), got \(got); "
        + "restore with the model that saved it."
    }
  }
}
