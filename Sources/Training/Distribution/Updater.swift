import MLX
import MLXNN
import MLXOptimizers
import OrderedCollections

/// What changes a model's parameters along the gradients of all processes.
protocol Updater: Updatable {
  /// The learning rate of the next update.
  var learningRate: Float { get set }

  /// Takes the mean of the gradients over the processes, clips it, and updates the parameters.
  ///
  /// Returns the norm of the mean before it was clipped.
  func update(_ model: Module, gradients: ModuleParameters, clip: Float?) throws -> MLXArray

  /// The state of the whole model, under the names of an ordinary optimiser's; all processes have
  /// to ask for it together.
  func wholeState() throws -> OrderedDictionary<String, MLXArray>

  /// Continues from a whole state.
  func restore(_ state: OrderedDictionary<String, MLXArray>, for model: Module) throws

  /// The parameter at a path in `float32` as this process has it: the master copy if there is one.
  func exact(_ path: String, _ parameter: MLXArray) -> MLXArray
}

/// The norm of all gradients together, and the factor that clips them.
func clipping(_ squares: MLXArray, to limit: Float?) -> (norm: MLXArray, factor: MLXArray?) {
  let norm = sqrt(squares)
  // As ``clipGradNorm(gradients:maxNorm:)``.
  return (norm, limit.map { minimum($0 / (norm + 1e-6), 1) })
}

/// Every process has the whole state and makes the same update.
final class WholeUpdater: Updater {
  private let optimizer: OptimizerBase
  private let buckets: GradientBuckets
  private let group: ProcessGroup

  init(_ optimizer: OptimizerBase, for model: Module, group: ProcessGroup) {
    optimizer.initialize(for: model)
    self.optimizer = optimizer
    self.group = group
    buckets = GradientBuckets(model.trainableParameters())
  }

  var learningRate: Float {
    get { optimizer.learningRate }
    set { optimizer.learningRate = newValue }
  }

  func innerState() -> [MLXArray] { optimizer.innerState() }

  func update(_ model: Module, gradients: ModuleParameters, clip: Float?) throws -> MLXArray {
    let mean = buckets.mean(gradients, over: group)
    let (norm, factor) = clipping(squaredNorm(mean.values), to: clip)
    try optimizer.update(model: model, gradients: mean, scale: factor)
    return norm
  }

  func wholeState() -> OrderedDictionary<String, MLXArray> { optimizer.state }

  func restore(_ state: OrderedDictionary<String, MLXArray>, for model: Module) throws {
    try optimizer.restore(state.map { (key: $0.key, value: $0.value) }, for: model)
  }

  func exact(_ path: String, _ parameter: MLXArray) -> MLXArray {
    optimizer.masterCopy(of: path) ?? parameter.asType(.float32)
  }
}
