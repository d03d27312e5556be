import Foundation
import Layers
import MLX
import MLXNN
import Models
import Reports

/// How a conversion is to be done.
public struct ConversionOptions: Sendable {
  /// What the layers become; the first rule that applies to a layer counts.
  public var rules: [ConversionRule]
  /// Texts whose inputs the fits see; distillation sees all of the corpus's calibration texts.
  public var fitTexts: Int
  /// Steps of distillation, a quarter of them layer by layer, the rest end to end.
  public var distillationSteps: Int
  /// Texts in a batch of the timed model.
  public var timedTexts: Int

  /// Makes options.
  public init(
    rules: [ConversionRule], fitTexts: Int = 2000, distillationSteps: Int = 0, timedTexts: Int = 32
  ) {
    self.rules = rules
    self.fitTexts = fitTexts
    self.distillationSteps = distillationSteps
    self.timedTexts = timedTexts
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

/// Converts a sentence encoder: plan, calibrate, fit, distil, measure, write.
public final class Converter {
  /// The model as it was.
  public let original: SentenceEncoder
  /// The model as it becomes.
  public let converted: SentenceEncoder
  /// What becomes of each layer; of layers that share a budget it is decided by ``run(corpus:progress:)``.
  public private(set) var plan: ConversionPlan
  let options: ConversionOptions
  /// The folder's name, for reports.
  let name: String

  /// Loads the model and plans, which checks everything that can be checked before work begins.
  public init(folder: URL, options: ConversionOptions) throws {
    original = try SentenceEncoder(folder: folder, structuredLayers: .standard)
    converted = try SentenceEncoder(folder: folder, structuredLayers: .standard)
    plan = try ConversionPlan(for: converted.model, rules: options.rules)
    self.options = options
    name = folder.standardizedFileURL.lastPathComponent
  }

  /// Converts the model in memory and reports on it.
  ///
  /// Throws what `progress` throws, which is how a caller interrupts.
  public func run(
    corpus: Corpus, progress: (ConversionProgress) throws -> Void = { _ in }
  ) throws -> ConversionReport {
    guard corpus.heldOut.count >= 3, !corpus.calibration.isEmpty, options.fitTexts > 0 else {
      throw ConversionError(
        "[convert] expected texts to fit on and three or more to judge by, got "
          + "\(min(options.fitTexts, corpus.calibration.count)) and \(corpus.heldOut.count).")
    }
    let tokenizer = try original.tokenizer()
    let heldOut = TokenBatches(try tokenizer.tokens(of: corpus.heldOut))
    let training = try tokenizer.tokens(of: corpus.calibration)
    let reference = try original.embeddings(heldOut)
    var stages: [StageReport] = []
    func stage(_ name: String, _ work: () throws -> Void) throws {
      let duration = try ContinuousClock().measure(work)
      stages.append(
        StageReport(
          name: name, seconds: duration / .seconds(1),
          fidelity: try Fidelity(of: converted.embeddings(heldOut), to: reference)))
    }

    let fitted = TokenBatches(Array(training.prefix(options.fitTexts)))
    if plan.isOpen {
      // The corpus is in random order, so its first texts are as good as any.
      try decide(fitted, probes: TokenBatches(Array(training.prefix(128))), progress)
    }
    try stage("fit") { try fit(fitted, progress) }
    let paths = plan.layers.map(\.path)
    let errors = try layerErrors(
      of: converted.model, against: original.model, layers: paths, batches: heldOut.batches)
    if options.distillationSteps > 0 {
      let batches = shuffled(TokenBatches(training).batches)
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
    _ batches: TokenBatches, probes: TokenBatches,
    _ progress: (ConversionProgress) throws -> Void
  ) throws {
    let planner = try Planner(
      original: original, converted: converted, batches: batches.batches, probes: probes.batches)
    let total = batches.batches.count + plan.layers.count { !$0.alternatives.isEmpty }
    var completed = 0
    try planner.decide(&plan) {
      completed += 1
      try progress(ConversionProgress(stage: "plan", completed: completed, total: total))
    }
  }

  private func fit(
    _ batches: TokenBatches, _ progress: (ConversionProgress) throws -> Void
  ) throws {
    let fitter = LayerFitter(
      original: original.model, converted: converted.model, batches: batches.batches)
    // A layer outside the blocks, such as a pooler, is fitted without running the model.
    let total = plan.groups.reduce(0) { total, group in
      let runs = group.first.flatMap { original.model.layer(of: $0.path) } != nil
      return total + (runs ? batches.batches.count : 0) + group.count
    }
    var completed = 0
    for group in plan.groups {
      try fitter.fit(group) {
        completed += 1
        try progress(
          ConversionProgress(
            stage: "fit", completed: completed, total: total,
            detail: group.first.map { String($0.path.prefix { $0 != " " }) }))
      }
    }
  }

  /// Batches in an order that depends on nothing but their number, short and long texts mixed.
  private func shuffled(_ batches: [TokenBatches.Batch]) -> [TokenBatches.Batch] {
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
