import Foundation
import MLX
import MLXNN
import MLXOptimizers
import Models
import OrderedCollections
import Reports

/// Trains a model by a recipe.
///
/// ```swift
/// let trainer = try Trainer(recipe: Recipe(contentsOf: url))
/// let result = try trainer.run { print($0.metric) }
/// ```
public final class Trainer {
  /// What is done.
  public let recipe: Recipe
  let group: ProcessGroup
  let data: TrainingData
  let model: any CheckpointModel
  let source: (any Checkpoint)?
  let objective: Objective
  let cost: TrainingCost
  let checkpoints: TrainingCheckpoints
  let metrics: MetricsFile

  /// The dense layers beside structured ones, while there are any.
  var guide: GuidedStart?
  var updater: any Updater
  var average: RunningAverage?
  private var step: TrainingStep
  private lazy var scorer = makeScorer()

  /// How many steps are done.
  var stepsDone = 0
  /// Seconds of the runs that this one resumed.
  var secondsBefore = 0.0
  private var clock = StepClock()

  /// A trainer of a recipe; without `data` it opens what the recipe names.
  ///
  /// Throws what is wrong with model, structures, data or teacher: nothing is written yet.
  public init(
    recipe: Recipe, data: TrainingData? = nil, group: ProcessGroup = .single
  ) throws {
    self.recipe = recipe
    self.group = group
    let shares = group.size * recipe.accumulation
    guard recipe.batch % shares == 0 else {
      throw TrainingError(
        "[train] expected a batch that \(group.size) processes share in \(recipe.accumulation) "
          + "parts each, got \(recipe.batch); make it a multiple of \(shares).")
    }
    let prepared = try recipe.makeModel()
    try Trainer.checkThatNothingLearnsToLookAhead(prepared.module)
    (model, source, guide) = (prepared.module, prepared.checkpoint, prepared.guide)
    let longest = (prepared.module as? any LanguageModel)?.maximumLength ?? 1
    let data =
      try data
      ?? TrainingData.open(
        recipe.data, length: recipe.length ?? longest, augmentation: recipe.augmentation,
        seed: recipe.seed)
    self.data = data
    objective = Objective(
      model: model, dtype: recipe.precision.dtype, labelSmoothing: Float(recipe.labelSmoothing),
      teacher: try recipe.distillation.map { try Trainer.teacher($0, recipe, of: prepared.module) })
    if let count = data.targetCount { try objective.check(targetCount: count) }
    try objective.check(
      try data.train.batch(step: 0, size: recipe.batch, part: 0, of: shares))
    let example = try data.train.examples(0..<1)
    if let validation = data.validation { try objective.check(validation.examples(0..<1)) }
    cost = TrainingCost(model, length: example.inputs.ndim == 2 ? example.inputs.dim(1) : 1)
    checkpoints = TrainingCheckpoints(folder: recipe.output.appending(path: "checkpoints"))
    metrics = MetricsFile(url: recipe.output.appending(path: "metrics.jsonl"))
    updater = try Trainer.makeUpdater(recipe, model, group)
    average = recipe.average.map { RunningAverage(prepared.module, decay: $0) }
    step = Trainer.makeStep(recipe, objective, updater, average, group)
  }

  // MARK: - Parts

  private static func teacher(
    _ distillation: Recipe.Distillation, _ recipe: Recipe, of student: any CheckpointModel
  ) throws -> Objective.Teacher {
    let teacher = try ModelRegistry.load(
      CheckpointFolder(url: distillation.teacher), structuredLayers: .standard,
      dtype: recipe.precision.dtype
    ).module
    let fits =
      switch (student, teacher) {
      case (let student as any LanguageModel, let teacher as any LanguageModel):
        student.vocabularySize == teacher.vocabularySize
      case (let student as any ImageClassifier, let teacher as any ImageClassifier):
        student.classCount == teacher.classCount && student.imageShape == teacher.imageShape
      default: false
      }
    guard fits else {
      throw TrainingError(
        "[train] expected a teacher with the model's inputs and outputs, got the "
          + "\(type(of: teacher).modelType) in \(distillation.teacher.path(percentEncoded: false))."
      )
    }
    teacher.train(false)
    return Objective.Teacher(
      model: teacher, weight: Float(distillation.weight),
      temperature: Float(distillation.temperature))
  }

  static func makeUpdater(
    _ recipe: Recipe, _ model: any CheckpointModel, _ group: ProcessGroup
  ) throws -> any Updater {
    let groups = try recipe.rules.groups(for: model)
    let treatment: (String) -> ParameterGroup = { groups[$0] ?? ParameterGroup() }
    let adam = recipe.optimizer
    let make: (@escaping (String) -> ParameterGroup) -> OptimizerBase = {
      AdamW(
        learningRate: Float(adam.rate), betas: (Float(adam.betas[0]), Float(adam.betas[1])),
        eps: Float(adam.epsilon), weightDecay: Float(adam.decay), group: $0)
    }
    return recipe.shardsOptimizer && group.size > 1
      ? try ShardedUpdater(for: model, group: group, treatment: treatment, makeOptimizer: make)
      : WholeUpdater(make(treatment), for: model, group: group)
  }

  private static func makeStep(
    _ recipe: Recipe, _ objective: Objective, _ updater: any Updater, _ average: RunningAverage?,
    _ group: ProcessGroup
  ) -> TrainingStep {
    TrainingStep(
      objective, updater: updater, average: average, clip: recipe.clip.map { Float($0) },
      parts: recipe.accumulation, group: group, compiles: recipe.compiles)
  }

  private func makeScorer() -> (MLXArray, MLXArray) -> [MLXArray] {
    let objective = objective
    guard recipe.compiles else { return { objective.score(Batch([$0, $1])) } }
    let score = compile(inputs: [model], count: 3) { objective.score(Batch($0)) }
    return { score([$0, $1]) }
  }

  /// Ends the guided start: the structured layers go on alone, with the state they have.
  private func endGuidedStart() throws {
    guard let guide, stepsDone >= guide.steps else { return }
    func path(_ key: String) -> String? {
      key.contains(GuidedLinear.guideKey + ".")
        ? nil : key.replacing(GuidedLinear.structuredKey + ".", with: ".")
    }
    var state: OrderedDictionary<String, MLXArray> = [:]
    for (key, value) in try updater.wholeState() {
      if let path = path(key) { state[path] = value }
    }
    var averages: [String: MLXArray] = [:]
    for (key, value) in average?.values ?? [:] {
      if let path = path(key) { averages[path] = value }
    }
    try guide.remove(from: model)
    self.guide = nil
    updater = try Trainer.makeUpdater(recipe, model, group)
    try updater.restore(state, for: model)
    average = recipe.average.map { RunningAverage(model, decay: $0) }
    try average?.restore(averages)
    remakeStep()
  }

  /// Compiles the step anew, after a change of the model's layers.
  func remakeStep() {
    step = Trainer.makeStep(recipe, objective, updater, average, group)
    scorer = makeScorer()
  }

  // MARK: - The run

  /// Trains to the end of the recipe, or until it is asked to stop, and writes the model.
  ///
  /// With `resuming` it goes on from the last checkpoint, if there is one, as if it had never
  /// stopped. `progress` sees every step.
  ///
  /// Throws where a loss or gradient is not finite (the last checkpoint is from before), where the
  /// output has a run already, what the data throw, or what `progress` throws.
  public func run(
    resuming: Bool = false, progress: (TrainingProgress) throws -> Void = { _ in },
    isStopRequested: () -> Bool = { false }
  ) throws -> TrainingResult {
    try begin(resuming: resuming)
    model.train()
    var pending: (results: MLXArray, rate: Float)?
    var isStopping = false
    func settle() throws {
      guard let (results, rate) = pending else { return }
      pending = nil
      if try record(results, rate: rate, step: clock.isAhead ? stepsDone - 1 : stepsDone, progress)
      {
        isStopping = true
      }
    }
    clock.start()
    while stepsDone < recipe.steps, !isStopping {
      try endGuidedStart()
      guide?.setShare(step: stepsDone)
      let rate = recipe.rates(stepsDone)
      updater.learningRate = rate
      let results = try step(batches(), flag: isStopRequested())
      stepsDone += 1
      // The step runs while the one before it is looked at.
      clock.isAhead = true
      try settle()
      clock.isAhead = false
      pending = (results, rate)
      let isLast = stepsDone == recipe.steps
      let savesNow = isLast || stepsDone % recipe.checkpointInterval == 0
      let scoresNow = isLast || stepsDone % recipe.evaluationInterval == 0
      guard savesNow || scoresNow || isStopping else { continue }
      try settle()
      if scoresNow { try evaluate() }
      if savesNow || isStopping { try save() }
      clock.start()
    }
    return try end(isStopping && stepsDone < recipe.steps ? .interrupted : .finished)
  }

  private func batches() throws -> [Batch] {
    let parts = recipe.accumulation
    return try (0..<parts).map { part in
      try data.train.batch(
        step: stepsDone, size: recipe.batch, part: group.rank * parts + part,
        of: group.size * parts)
    }
  }

  /// Waits for a step, notes what it measured, and says whether some process wants to stop.
  private func record(
    _ results: MLXArray, rate: Float, step: Int, _ progress: (TrainingProgress) throws -> Void
  ) throws -> Bool {
    let values = try results.asArray(Float.self)
    let (loss, norm) = (Double(values[0]), Double(values[2]))
    clock.tick()
    var metric = TrainingMetric(step: step)
    metric.loss = loss
    metric.norm = norm
    metric.rate = Double(rate)
    if let seconds = clock.recent {
      let examples = Double(recipe.batch) / seconds
      metric.perSecond = examples * Double(cost.unitsPerExample)
      metric.utilization = utilization(examples)
    }
    lastLoss = loss
    if group.rank == 0 { try metrics.append(metric) }
    guard loss.isFinite, norm.isFinite else {
      let last = checkpoints.steps.last
      throw TrainingError(
        "[train] expected a finite loss and gradient, got loss \(loss) and norm \(norm) at step "
          + "\(step); lower the rate or clip the gradients"
          + (last.map { ", and resume: the checkpoint of step \($0) is whole." } ?? "."))
    }
    try progress(
      TrainingProgress(
        metric: metric, steps: recipe.steps, unit: cost.unit,
        secondsLeft: clock.recent.map { $0 * Double(recipe.steps - step) }))
    return values[1] > 0
  }

  var lastLoss: Double?
  var lastScore: TrainingMetric?

  private func utilization(_ examplesPerSecond: Double) -> Double? {
    TrainingCost.peak(recipe.precision.dtype).map {
      cost.utilization(
        examplesPerSecond: examplesPerSecond, peak: $0 * Double(group.size))
    }
  }

  private func evaluate() throws {
    guard let validation = data.validation else { return }
    var metric = TrainingMetric(step: stepsDone)
    (metric.validationLoss, metric.validationAccuracy) = try score(validation)
    if let average {
      (metric.averageLoss, metric.averageAccuracy) = try average.inPlace(of: model) {
        try score(validation)
      }
    }
    lastScore = metric
    if group.rank == 0 { try metrics.append(metric) }
  }

  /// The mean loss and accuracy over validation examples, which the processes share.
  private func score(_ source: any BatchSource) throws -> (loss: Double, accuracy: Double) {
    model.train(false)
    defer { model.train() }
    let count = min(source.count, recipe.evaluationExamples)
    let size = max(1, recipe.batch / (group.size * recipe.accumulation))
    var sums = MLXArray.zeros([3])
    for (index, start) in Swift.stride(from: 0, to: count, by: size).enumerated()
    where index % group.size == group.rank {
      let batch = try source.examples(start..<min(count, start + size))
      sums = sums + stacked(scorer(batch.inputs, batch.targets))
      try asyncEval(sums)
    }
    let totals = try group.sum(sums).asArray(Double.self)
    return (totals[0] / totals[2], totals[1] / totals[2])
  }

  private func end(_ ending: TrainingResult.Ending) throws -> TrainingResult {
    let examples = clock.mean.map { Double(recipe.batch) / $0 }
    let result = TrainingResult(
      model: type(of: model).modelType, ending: ending, step: stepsDone, steps: recipe.steps,
      trainingLoss: lastLoss, validationLoss: lastScore?.validationLoss,
      validationAccuracy: lastScore?.validationAccuracy,
      perSecond: (examples ?? 0) * Double(cost.unitsPerExample),
      utilization: examples.flatMap(utilization), seconds: seconds,
      parameters: model.parameters().values.reduce(0) { $0 + $1.size }, cost: cost,
      processes: group.size,
      checkpoint: recipe.checkpointsKept > 0
        ? checkpoints.url(step: stepsDone).path(percentEncoded: false) : nil,
      machine: MachineSheet.current())
    if group.rank == 0, ending == .finished { try writeModels() }
    return result
  }

  /// Writes the curves of a run as `report.html` into its folder.
  ///
  /// Throws where the folder cannot be written to.
  public func writePage(_ result: TrainingResult) throws {
    try AtomicFile.write(
      result.html(metrics.read()), to: recipe.output.appending(path: "report.html"))
  }

  /// Seconds of training in all.
  var seconds: Double { secondsBefore + clock.total }
}

extension Batch {
  fileprivate init(_ arrays: [MLXArray]) {
    self.init(inputs: arrays[0], targets: arrays[1])
  }
}
