import Layers
import MLX
import MLXNN
import MLXOptimizers
import Models
import OrderedCollections

/// Trains a converted model to do what the model it was made from does.
///
/// First layer by layer: every stage learns, from its own inputs, to give the original's hidden
/// states, and no gradient crosses from one stage to the next. Then end to end: the same for all
/// stages at once and for the model's results. Everything from the first converted stage on learns,
/// but for tables of embeddings.
struct Distiller {
  /// What a phase trains towards.
  enum Phase: String {
    case layers = "distil layers"
    case endToEnd = "distil end to end"
  }

  let student: any ConvertibleModel
  let teacher: any ConvertibleModel

  /// Adam's step, as a share of each parameter's root mean square.
  ///
  /// Fitted factors have whatever scale the fit gave them, so an absolute step would be too small
  /// for one structure and too large for another.
  var relativeStep = 0.001

  /// Runs the steps, one batch each, in the order given and from the start again where they end.
  ///
  /// Throws where the loss stops being finite: the student is then of no use. `progress` gets the
  /// step and the loss.
  func run(
    _ phase: Phase, steps: Int, batches: [ExampleBatch],
    progress: (Int, Double) throws -> Void
  ) throws {
    guard steps > 0, !batches.isEmpty else { return }
    let model: Module = student.model
    let stages = try learningStages()
    // Their gradients would be as large as the tables, and conversion leaves them as they are.
    for module in model.modules() where module is Embedding { try module.freeze() }
    let scales = try model.trainableParameters().mapValues {
      try max(1e-3, mean(square($0)).item(Float.self).squareRoot())
    }
    let optimizer = AdamW(learningRate: 0, betas: (0.9, 0.98), weightDecay: 0) { path in
      ParameterGroup(learningRateMultiplier: scales[path] ?? 0)
    }
    let schedule = Schedule.linearWarmUp(
      steps: max(1, steps / 20),
      then: .cosine(from: relativeStep, to: relativeStep / 20, steps: steps))
    let step = valueAndGrad(model: model) { (_: Module, inputs: [MLXArray]) in
      [loss(phase, stages, start: inputs[0], targets: Array(inputs[1...]))]
    }
    for number in 0..<steps {
      // Up to the first converted stage both models do the same.
      let inputs = try batches[number % batches.count].inputs()
      let start = (0..<stages.lowerBound).reduce(inputs) {
        teacher.model.advanced($0, through: $1)
      }
      let targets = teacher.model.states(of: start, from: stages.lowerBound)
      let (values, gradients) = step(model, [start] + targets)
      optimizer.learningRate = schedule(number)
      try optimizer.update(model: model, gradients: gradients)
      try eval(values + model.trainableParameters().values + optimizer.innerState())
      let value = try Double(values[0].item(Float.self))
      guard value.isFinite else {
        throw ConversionError(
          "[distil] expected a finite loss, got \(value) at step \(number); use fewer or smaller "
            + "steps.")
      }
      try progress(number + 1, value)
    }
  }

  /// The stages with converted layers; without any, those of the stack.
  private func learningStages() throws -> ClosedRange<Int> {
    let trace = try LayerTrace(of: student.model)
    let modules = student.model.namedModules()
    let stages = trace.calls.filter { modules[$0.key] is StructuredLinear }.map(\.value.stage)
    let stack = student.model.stack
    return (stages.min() ?? stack.lowerBound)...(stages.max() ?? stack.lowerBound)
  }

  private func loss(
    _ phase: Phase, _ stages: ClosedRange<Int>, start: MLXArray, targets: [MLXArray]
  ) -> MLXArray {
    let model = student.model
    let first = stages.lowerBound
    let states = model.states(
      of: start, from: first, between: phase == .layers ? stopGradient : { $0 })
    let hidden = max(0, model.stack.upperBound - first)
    var total = MLXArray(0.0)
    for (state, target) in zip(states, targets).prefix(hidden) {
      total = total + mean(square(state - target)) / mean(square(target))
    }
    total = total / Float(max(1, hidden))
    // Layers behind the stack learn from nothing else.
    let isOutputConverted = stages.upperBound >= model.stack.upperBound
    guard phase == .endToEnd || isOutputConverted, let last = states.last, let target = targets.last
    else { return total }
    let divergence = student.divergence(
      of: student.results(of: last), from: teacher.results(of: target))
    // The results are what the model is for: an error there weighs more than the same error of a
    // hidden state.
    return total + 5 * divergence
  }
}
