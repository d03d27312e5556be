import MLX
import MLXNN
import OrderedCollections

/// What all optimisers share: the state of each parameter by path, the count of updates, and
/// arithmetic in `float32`.
///
/// A parameter of lower precision has a `float32` master copy, which is what the updates change, so
/// that changes below a rounding of the parameter add up. Values that the model is given after
/// ``initialize(for:)`` do not reach the master copy.
open class OptimizerBase: Optimizer {
  /// The learning rate of the next update.
  public var learningRate: Float {
    didSet { rate.update(MLXArray(learningRate)) }
  }

  /// The treatment of the parameter at a path.
  public let group: (String) -> ParameterGroup

  private let rate: MLXArray
  private let step = MLXArray(Int32(0))
  private var slots = OrderedDictionary<String, Slot>()

  private struct Slot {
    let shape: [Int]
    let master: MLXArray?
    let values: [MLXArray]
  }

  /// What one update of one parameter depends on beside the parameter.
  public struct Context {
    /// The learning rate, multiplied for the parameter, a `float32` scalar.
    public let learningRate: MLXArray
    /// Whether weight decay applies.
    public let weightDecay: Bool
    /// What ``OptimizerBase/sharedTerms(step:)`` gave for this update.
    public let shared: [MLXArray]
  }

  /// What one update of one parameter gives.
  public struct Update {
    /// The new parameter in `float32`, or in its own type if that is wider.
    public var parameter: MLXArray
    /// The new parameter in its own type, if that is known already.
    public var rounded: MLXArray?
    /// The new state, in the order of ``OptimizerBase/stateNames``.
    public var state: [MLXArray]
  }

  /// An optimiser without state yet.
  public init(learningRate: Float, group: @escaping (String) -> ParameterGroup) {
    self.learningRate = learningRate
    self.group = group
    rate = MLXArray(learningRate)
  }

  // MARK: - What an optimiser defines

  /// The names of a parameter's state, arrays of its shape that begin as zeros.
  open var stateNames: [String] { [] }

  /// Terms that all parameters share in the update with the given number, from 1, as `float32`.
  open func sharedTerms(step: MLXArray) -> [MLXArray] { [] }

  /// The new parameter and its new state, in the order of ``stateNames``; all are `float32`.
  open func applySingle(
    gradient: MLXArray, parameter: MLXArray, state: [MLXArray], _ context: Context
  ) -> (parameter: MLXArray, state: [MLXArray]) {
    (parameter - context.learningRate * gradient, state)
  }

  /// One parameter of an update, its gradient as it came.
  public struct Single {
    /// The gradient of the parameter's shape, of any type.
    public let gradient: MLXArray
    /// The parameter, or its master copy.
    public let parameter: MLXArray
    /// Its state, in the order of ``OptimizerBase/stateNames``.
    public let state: [MLXArray]
    /// How it is treated.
    public let group: ParameterGroup
  }

  /// The updates of all parameters by kernels that treat several at once, `nil` where there are none.
  ///
  /// `rate` is the learning rate, `shared` what ``sharedTerms(step:)`` gave, and all gradients are to
  /// be multiplied by `scale`, if any.
  open func applyByKernels(
    _ all: [Single], rate: MLXArray, shared: [MLXArray], scale: MLXArray?
  ) -> [Update]? { nil }

  // MARK: - Optimizer

  /// Makes the state of the model's trainable parameters that have none yet, and drops that of
  /// parameters that the model no longer has.
  public func initialize(for model: Module) {
    let parameters = model.parameters()
    slots = slots.filter { path, slot in parameters[path]?.shape == slot.shape }
    for (path, parameter) in model.trainableParameters() where slots[path] == nil {
      slots[path] = slot(for: parameter)
    }
  }

  private func slot(for parameter: MLXArray) -> Slot {
    let wide = parameter.dtype.size < 4
    let zeros = MLXArray.zeros(like: wide ? parameter.asType(.float32) : parameter)
    return Slot(
      shape: parameter.shape, master: wide ? parameter.asType(.float32) : nil,
      values: stateNames.map { _ in zeros + 0 })
  }

  /// Changes the parameters that have gradients, by path; of others nothing is touched.
  ///
  /// Throws, before anything has changed, if a gradient failed, has no parameter or another shape.
  public func update(model: Module, gradients: ModuleParameters) throws {
    try update(model: model, gradients: gradients, scale: nil)
  }

  /// The same with all gradients multiplied by a scalar first.
  public func update(model: Module, gradients: ModuleParameters, scale: MLXArray?) throws {
    let parameters = model.parameters()
    for (path, gradient) in gradients {
      guard let parameter = parameters[path] else {
        throw OptimizerError.unknownGradient(path: path)
      }
      if let failure = gradient.failure { throw failure }
      guard gradient.shape == parameter.shape else {
        throw OptimizerError.wrongGradient(
          path: path, expected: parameter.shape, got: gradient.shape)
      }
    }
    step.update(step + 1)
    let shared = sharedTerms(step: step.asType(.float32))
    var targets: [(parameter: MLXArray, slot: Slot)] = []
    var all: [Single] = []
    for (path, gradient) in gradients {
      guard let parameter = parameters[path] else { continue }
      let slot = slots[path] ?? slot(for: parameter)
      slots[path] = slot
      targets.append((parameter, slot))
      all.append(
        Single(
          gradient: gradient, parameter: slot.master ?? parameter, state: slot.values,
          group: group(path)))
    }
    let updates =
      applyByKernels(all, rate: rate, shared: shared, scale: scale)
      ?? all.map { composed($0, shared: shared, scale: scale) }
    for ((parameter, slot), new) in zip(targets, updates) {
      for (array, value) in zip(slot.values, new.state) { array.update(value) }
      slot.master?.update(new.parameter)
      // A kernel rounds to the gradient's type, which may be narrower than the parameter's.
      let rounded = new.rounded.flatMap { $0.dtype == parameter.dtype ? $0 : nil }
      parameter.update(rounded ?? new.parameter.asType(parameter.dtype))
    }
  }

  private func composed(_ one: Single, shared: [MLXArray], scale: MLXArray?) -> Update {
    let wide = one.gradient.asType(one.parameter.dtype)
    let multiplier = one.group.learningRateMultiplier
    let (parameter, state) = applySingle(
      gradient: scale.map { wide * $0 } ?? wide, parameter: one.parameter, state: one.state,
      Context(
        learningRate: multiplier == 1 ? rate : rate * multiplier,
        weightDecay: one.group.weightDecay, shared: shared))
    return Update(parameter: parameter, state: state)
  }

  /// The count of updates, the learning rate, and the state of each parameter.
  public func innerState() -> [MLXArray] { Array(state.values) }

  /// `step`, `learningRate` and, for each parameter, `<path>.<name>` for the names in
  /// ``stateNames`` and `<path>.master` where it has a master copy.
  public var state: OrderedDictionary<String, MLXArray> {
    var result: OrderedDictionary<String, MLXArray> = ["step": step, "learningRate": rate]
    for (path, slot) in slots {
      result["\(path).master"] = slot.master
      for (name, value) in zip(stateNames, slot.values) { result["\(path).\(name)"] = value }
    }
    return result
  }

  /// The `float32` copy of a parameter of lower precision, `nil` where it has none.
  public func masterCopy(of path: String) -> MLXArray? { slots[path]?.master }

  /// Continues from a saved ``state``.
  ///
  /// Throws, before anything has changed, if it is not the state of this kind of optimiser for the
  /// trainable parameters of this model.
  public func restore(
    _ new: some Sequence<(key: String, value: MLXArray)>, for model: Module
  ) throws {
    initialize(for: model)
    var missing = state
    var pairs: [(target: MLXArray, value: MLXArray)] = []
    for (key, value) in new {
      guard let target = missing.removeValue(forKey: key) else {
        throw OptimizerError.unknownState(key: key)
      }
      if let failure = value.failure { throw failure }
      guard target.shape == value.shape else {
        throw OptimizerError.wrongState(key: key, expected: target.shape, got: value.shape)
      }
      pairs.append((target, value.asType(target.dtype)))
    }
    if let key = missing.keys.first { throw OptimizerError.missingState(key: key) }
    // The only value that Swift holds too; all else may still be lazy.
    let restored = try pairs.first { $0.target === rate }?.value.item(Float.self)
    for (target, value) in pairs { target.update(value) }
    learningRate = restored ?? learningRate
  }
}
