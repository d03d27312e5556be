import MLX
import MLXNN
import MLXOptimizers
import Models
import OrderedCollections
/// Trains a converted model to do what the model it was made from does.
///
/// First layer by layer: every block learns, from its own inputs, to give the original's hidden
/// states, and no gradient crosses from one block to the next. Then end to end: the same for all
/// blocks at once and for the embedding of the text. Everything but the embedding tables learns.
struct Distiller {
  /// What a phase trains towards.
  enum Phase: String {
    case layers = "distil layers"
    case endToEnd = "distil end to end"
  }

  let student: SentenceEncoder
  let teacher: SentenceEncoder

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
    _ phase: Phase, steps: Int, batches: [TokenBatches.Batch],
    progress: (Int, Double) throws -> Void
  ) throws {
    guard steps > 0, !batches.isEmpty else { return }
    let model = student.model
    // Their gradients would be as large as the tables, and conversion leaves them as they are.
    try model.freezeEmbeddings()
    let scales = try model.trainableParameters().mapValues {
      try max(1e-3, mean(square($0)).item(Float.self).squareRoot())
    }
    let optimizer = AdamW(learningRate: 0, betas: (0.9, 0.98), weightDecay: 0) { path in
      ParameterGroup(learningRateMultiplier: scales[path] ?? 0)
    }
    let schedule = Schedule.linearWarmUp(
      steps: max(1, steps / 20),
      then: .cosine(from: relativeStep, to: relativeStep / 20, steps: steps))
    let step = valueAndGrad(model: model) { (model: BERTModel, inputs: [MLXArray]) in
      [loss(phase, model, tokens: inputs[0], targets: Array(inputs[1...]))]
    }
    for number in 0..<steps {
      let tokens = batches[number % batches.count].array
      let targets = teacher.model.hiddenStates(tokens: tokens, between: { $0 })
      let (values, gradients) = step(model, [tokens] + targets)
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

  private func loss(
    _ phase: Phase, _ model: BERTModel, tokens: MLXArray, targets: [MLXArray]
  ) -> MLXArray {
    let states = model.hiddenStates(
      tokens: tokens, between: phase == .layers ? stopGradient : { $0 })
    // The first state is the embeddings', which both models share.
    var total = MLXArray(0.0)
    for (state, target) in zip(states, targets).dropFirst() {
      total = total + mean(square(state - target)) / mean(square(target))
    }
    total = total / Float(max(1, states.count - 1))
    guard phase == .endToEnd, let last = states.last, let target = targets.last else {
      return total
    }
    let (ours, theirs) = (student.head(last), student.head(target))
    let cosine = sum(ours * theirs, axis: -1) / (norm(ours, axes: [-1]) * norm(theirs, axes: [-1]))
    // The embedding is what the model is for: an error of its direction weighs more than the same
    // error of a hidden state.
    return total + 5 * mean(1 - cosine)
  }
}
