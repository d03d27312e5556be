import Foundation
import Layers
import MLX
import MLXNN
import Models
import Operators
import Reports

/// How a conversion is to be done.
public struct ConversionOptions: Sendable {
  /// What the layers become; the first rule that applies to a layer counts.
  public var rules: [ConversionRule]
  /// Examples whose inputs the fits see, `nil` for as many as suit the kind of model; distillation
  /// sees all that are for calibration.
  public var fitExamples: Int?
  /// Steps of distillation, a quarter of them layer by layer, the rest end to end.
  public var distillationSteps: Int
  /// Examples in a batch of the timed model, `nil` for as many as suit its kind.
  public var timedExamples: Int?

  /// Makes options.
  public init(
    rules: [ConversionRule], fitExamples: Int? = nil, distillationSteps: Int = 0,
    timedExamples: Int? = nil
  ) {
    self.rules = rules
    self.fitExamples = fitExamples
    self.distillationSteps = distillationSteps
    self.timedExamples = timedExamples
  }
}

/// How far a conversion is.
public struct ConversionProgress: Sendable {
  /// What is being done, such as `fit` or `distil layers`.
  public var stage: String
  /// Parts done.
  public var completed: Int
  /// Parts in all.
  public var total: Int
  /// The latest figure, such as a loss.
  public var detail: String?
}

/// Converts a model: plan, calibrate, fit, distil, measure, write.
public final class Converter {
  /// The model as it was.
  public let original: any ConvertibleModel
  /// The model as it becomes.
  public let converted: any ConvertibleModel
  /// What becomes of each layer; of layers that share a budget it is decided by ``run(on:progress:)``.
  public private(set) var plan: ConversionPlan
  let options: ConversionOptions
  /// The folder's name, for reports.
  let name: String
  private let trace: LayerTrace

  /// Loads the model and plans, which checks everything that can be checked before work begins.
  public init(folder: URL, options: ConversionOptions) throws {
    original = try ConvertibleModels.load(folder)
    converted = try ConvertibleModels.load(folder)
    plan = try ConversionPlan(for: converted.model, rules: options.rules)
    trace = try LayerTrace(of: original.model)
    self.options = options
    name = folder.standardizedFileURL.lastPathComponent
    try checkThatNothingLearnsToLookAhead()
  }

  /// Throws if distillation could teach a causal model to see later tokens: an exact Strassen-Tile
  /// layer treats tokens apart only as long as its weight is the encoding of a dense one.
  private func checkThatNothingLearnsToLookAhead() throws {
    guard options.distillationSteps > 0, type(of: original.model).tokenFlow == .causal else {
      return
    }
    for layer in plan.layers {
      for structure in [layer.structure] + layer.alternatives {
        guard let tiles = structure as? StrassenTile, tiles.rows != .batch else { continue }
        throw ConversionError(
          "[convert] expected `rows=batch` in \(tiles.spec), since distillation would let a causal "
            + "model learn from later tokens of a tile, got rows=\(tiles.rows.rawValue); add "
            + "rows=batch, or do not distil.")
      }
    }
  }

  /// Converts the model in memory and reports on it.
  ///
  /// Throws what `progress` throws, which is how a caller interrupts.
  public func run(
    on source: ExampleSource = ExampleSource(),
    progress: (ConversionProgress) throws -> Void = { _ in }
  ) throws -> ConversionReport {
    let amounts = type(of: original).amounts
    let data = try original.data(from: source)
    let fitCount = options.fitExamples ?? amounts.fitted
    guard data.heldOut.count >= amounts.judged, min(fitCount, data.calibration.count) > 0 else {
      throw ConversionError(
        "[convert] expected examples to fit on and \(amounts.judged) or more to judge by, got "
          + "\(min(fitCount, data.calibration.count)) and \(data.heldOut.count).")
    }
    let compare = try original.comparison(on: data.heldOut)
    var stages: [StageReport] = []
    func stage(_ name: String, _ work: () throws -> Void) throws {
      let duration = try ContinuousClock().measure(work)
      stages.append(
        StageReport(
          name: name, seconds: duration / .seconds(1), fidelity: try compare(converted)))
    }

    let fitted = try data.calibration.batches(first: fitCount)
    if plan.isOpen {
      try decide(fitted, probes: data.calibration.batches(first: amounts.probed), progress)
    }
    try stage("fit") { try fit(fitted, progress) }
    let heldOut = try data.heldOut.batches()
    let errors = try layerErrors(
      of: converted.model, against: original.model, layers: plan.layers.map(\.path),
      batches: heldOut)
    if options.distillationSteps > 0 {
      let batches = shuffled(try data.calibration.batches())
      let first = options.distillationSteps / 4
      let steps: [(phase: Distiller.Phase, count: Int)] = [
        (.layers, first), (.endToEnd, options.distillationSteps - first),
      ]
      for (phase, count) in steps where count > 0 {
        try stage(phase.rawValue) {
          try Distiller(student: converted, teacher: original).run(
            phase, steps: count, batches: batches
          ) { step, loss in
            try progress(
              ConversionProgress(
                stage: phase.rawValue, completed: step, total: count,
                detail: "loss \(decimal(loss, places: 4))"))
          }
        }
      }
    }
    return try report(stages: stages, errors: errors, heldOut: heldOut)
  }

  /// Writes the converted model as a checkpoint; the target is whole or absent.
  public func write(to target: URL, replacingExisting: Bool = false) throws {
    try converted.checkpoint.write(to: target, replacingExisting: replacingExisting)
  }

  private func decide(
    _ batches: [ExampleBatch], probes: [ExampleBatch],
    _ progress: (ConversionProgress) throws -> Void
  ) throws {
    let planner = try Planner(
      original: original, converted: converted, batches: batches, probes: probes)
    let total = batches.count + plan.layers.count { !$0.alternatives.isEmpty }
    var completed = 0
    try planner.decide(&plan) {
      completed += 1
      try progress(ConversionProgress(stage: "plan", completed: completed, total: total))
    }
  }

  private func fit(
    _ batches: [ExampleBatch], _ progress: (ConversionProgress) throws -> Void
  ) throws {
    let fitter = try LayerFitter(
      original: original.model, converted: converted.model, batches: batches)
    // A layer that never runs, such as a pooler, is fitted without running the model.
    let total = plan.groups.reduce(0) { total, group in
      let runs = group.first.flatMap { trace.stage(of: $0.path) } != nil
      return total + (runs ? batches.count : 0) + group.count
    }
    var completed = 0
    for group in plan.groups {
      try fitter.fit(group) {
        completed += 1
        try progress(
          ConversionProgress(
            stage: "fit", completed: completed, total: total, detail: group.first?.path))
      }
    }
  }

  /// Batches in an order that depends on nothing but their number, short and long texts mixed.
  private func shuffled(_ batches: [ExampleBatch]) -> [ExampleBatch] {
    var generator = SplitMix(state: 0)
    return batches.shuffled(using: &generator)
  }
}

extension TokenBatches.Batch {
  /// The tokens as `int32` [B, T].
  var array: MLXArray {
    MLXArray(tokens.flatMap(\.self), [tokens.count, tokens.first?.count ?? 0])
  }
}
