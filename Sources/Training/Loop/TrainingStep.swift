import MLX
import MLXNN
import OrderedCollections

/// One step of training, compiled: gradients, their mean over parts and processes, clipping, the
/// optimiser's update, the running average.
final class TrainingStep {
  /// The gradients, and the loss, of the parts so far.
  private final class Sums: Updatable {
    var gradients: ModuleParameters
    let loss = MLXArray(Float(0))

    init(_ model: Module) {
      gradients = model.trainableParameters().mapValues { .zeros($0.shape) }
    }

    func innerState() -> [MLXArray] { Array(gradients.values) + [loss] }
  }

  /// The arrays of several objects, asked for once: to find a model's by reflection takes
  /// milliseconds, three times a step.
  private final class State: Updatable {
    private let arrays: [MLXArray]

    init(_ objects: [any Updatable]) {
      arrays = objects.flatMap { $0.innerState() }
    }

    func innerState() -> [MLXArray] { arrays }
  }

  private let parts: Int
  private let whole: ([MLXArray]) -> [MLXArray]
  private let add: ([MLXArray]) -> [MLXArray]
  private let finish: ([MLXArray]) -> [MLXArray]
  private let state: [any Updatable]

  /// A step of a model; `parts` is how many batches one update takes.
  ///
  /// A change of the model's layers needs a new one.
  init(
    _ objective: Objective, updater: any Updater, average: RunningAverage?, clip: Float?,
    parts: Int, group: ProcessGroup, compiles: Bool
  ) {
    let model: Module = objective.model
    let gradient = valueAndGrad(model: model) { (_: Module, arguments: [MLXArray]) in
      [objective.loss(arguments[0], arguments[1])]
    }
    /// Updates, and returns the loss and the flag as means over the processes, and the norm.
    func update(_ loss: MLXArray, _ gradients: ModuleParameters, flag: MLXArray) throws
      -> [MLXArray]
    {
      let norm = try updater.update(model, gradients: gradients, clip: clip)
      average?.update(model, updater)
      // All processes have the same norm; with it the exchange comes after those of the gradients.
      return [group.mean(stacked([loss, flag, norm]))]
    }
    let changed: [any Updatable] =
      [model, updater] + [average].compactMap { $0 as (any Updatable)? }
    let changing = [State(changed)]
    let reading = changing + [objective.teacher?.model].compactMap { $0.map { State([$0]) } }
    self.parts = parts
    whole = TrainingStep.compiled(compiles, reading, changing) { arguments in
      let (values, gradients) = gradient(model, Array(arguments[..<2]))
      return try update(values[0], gradients, flag: arguments[2])
    }
    guard parts > 1 else {
      state = changing
      (add, finish) = ({ $0 }, { $0 })
      return
    }
    let sums = Sums(model)
    let summing: [any Updatable] = changing + [sums]
    state = summing
    add = TrainingStep.compiled(compiles, reading + [sums], summing) { arguments in
      let (values, gradients) = gradient(model, arguments)
      for (path, sum) in sums.gradients {
        if let gradient = gradients[path] { sum.update(sum + gradient.asType(.float32)) }
      }
      sums.loss.update(sums.loss + values[0])
      return [sums.loss]
    }
    finish = TrainingStep.compiled(compiles, summing, summing) { arguments in
      let share = 1 / Float(parts)
      let results = try update(
        sums.loss * share, sums.gradients.mapValues { $0 * share }, flag: arguments[0])
      for array in sums.innerState() { array.update(.zeros(like: array)) }
      return results
    }
  }

  /// A function of one result as a fused graph, or as it is.
  private static func compiled(
    _ compiles: Bool, _ inputs: [any Updatable], _ outputs: [any Updatable],
    _ body: @escaping ([MLXArray]) throws -> [MLXArray]
  ) -> ([MLXArray]) -> [MLXArray] {
    guard !compiles else { return compile(inputs: inputs, outputs: outputs, body) }
    return { arguments in
      do {
        return try body(arguments)
      } catch {
        return [MLXArray(failure: error as? MLXError ?? MLXError("\(error)"))]
      }
    }
  }

  /// Starts the step and returns, without waiting, [loss, flag, norm]: the mean loss of the batches
  /// over all processes, the mean of the processes' flags, and the norm of the gradients.
  ///
  /// Throws what goes wrong before anything is computed.
  func callAsFunction(_ batches: [Batch], flag: Bool) throws -> MLXArray {
    precondition(batches.count == parts)
    let raised = MLXArray(Float(flag ? 1 : 0))
    let results: [MLXArray]
    if parts == 1 {
      results = whole([batches[0].inputs, batches[0].targets, raised])
    } else {
      for batch in batches {
        try asyncEval(add([batch.inputs, batch.targets]) + state.flatMap { $0.innerState() })
      }
      results = finish([raised])
    }
    try asyncEval(results + state.flatMap { $0.innerState() })
    return results[0]
  }
}
