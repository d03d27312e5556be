import Foundation
import MLX
import MLXNN
import Models
import OrderedCollections

extension Trainer {
  /// Prefixes of the arrays in a checkpoint beside the model's.
  private enum Kind: String, CaseIterable {
    case optimizer, average, state, guide

    func name(_ key: some StringProtocol) -> String { "\(rawValue)/\(key)" }
  }

  /// Makes the output, or finds the place to go on from.
  func begin(resuming: Bool) throws {
    let path = recipe.output.path(percentEncoded: false)
    let last = checkpoints.steps.last
    // Everybody has looked before anything changes.
    let places = try agreedRecipe(last: last ?? 0)
    if let last = places.max(), last > 0, !resuming {
      throw TrainingError(
        "[train] expected a new folder as `output`, got \(path) with a run of \(last) steps; "
          + "continue it with --resume, or name another.")
    }
    guard Set(places).count == 1 else {
      throw TrainingError(
        "[resume] expected the same last checkpoint for all processes, got steps "
          + "\(places.map(String.init).joined(separator: ", ")); put `output` where all hosts see "
          + "it, or copy its checkpoints to each.")
    }
    if group.rank == 0 {
      try FileSystem.makeFolder(recipe.output)
      try FileSystem.makeFolder(checkpoints.folder)
      try FileSystem.checkWritable(checkpoints.folder)
      checkpoints.removeRemains()
      try metrics.truncate(after: last ?? 0)
    }
    guard let last else { return }
    let state = try checkpoints.state(step: last)
    try check(state)
    try restore(step: last)
    (stepsDone, secondsBefore) = (state.step, state.seconds)
    try group.synchronize()
  }

  /// The last checkpoint that each process sees, whose hosts may have files of their own.
  ///
  /// Throws where they have not all read one recipe.
  private func agreedRecipe(last: Int) throws -> [Int] {
    let hash = Int32(truncatingIfNeeded: fnv1a(recipe.document.utf8))
    let all = try group.gather([Int32(clamping: last), hash])
    guard all.allSatisfy({ $0[1] == hash }) else {
      throw TrainingError(
        "[train] expected one recipe for all \(group.size) processes, got different ones; copy it "
          + "to every host.")
    }
    return all.map { Int($0[0]) }
  }

  /// Throws where a checkpoint's recipe would have gone another way up to its step.
  private func check(_ state: TrainingCheckpoints.State) throws {
    let changeable: Set = [
      "steps", "schedule", "checkpoints", "evaluation", "output", "processes", "data",
      "accumulation", "compile",
    ]
    let old = try JSON(parsing: Array(state.recipe.utf8)).object ?? JSON.Object()
    let new = try JSON(parsing: Array(recipe.document.utf8)).object ?? JSON.Object()
    for key in old.keys + new.keys where !changeable.contains(key) && old[key] != new[key] {
      throw TrainingError(
        "[resume] expected the recipe of the checkpoint, got another `\(key)`; take it back, or "
          + "name another `output` for a new run.")
    }
    guard state.step <= recipe.steps else {
      throw TrainingError(
        "[resume] expected more steps than the \(state.step) of the checkpoint, got "
          + "\(recipe.steps); raise `steps`.")
    }
  }

  /// Writes a checkpoint of the present step; all processes have to come here together.
  func save() throws {
    guard recipe.checkpointsKept > 0 else { return }
    var arrays: [String: MLXArray] = [:]
    for (key, value) in try updater.wholeState() { arrays[Kind.optimizer.name(key)] = value }
    guard group.rank == 0 else { return try group.synchronize() }
    for (key, value) in average?.values ?? [:] { arrays[Kind.average.name(key)] = value }
    for (key, value) in guide?.weights ?? [:] { arrays[Kind.guide.name(key)] = value }
    for (index, value) in randomState.enumerated() { arrays[Kind.state.name("\(index)")] = value }
    // Without the dense guides the model is one that every reader of checkpoints knows.
    try guide?.remove(from: model)
    defer { restoreGuide() }
    try checkpoints.write(
      TrainingCheckpoints.State(step: stepsDone, recipe: recipe.document, seconds: seconds),
      model: model, arrays: arrays)
    checkpoints.prune(keeping: recipe.checkpointsKept)
    try group.synchronize()
  }

  private func restoreGuide() {
    do {
      try guide?.put(into: model)
    } catch {
      preconditionFailure("a place that held the guided layer refuses it: \(error)")
    }
  }

  /// The arrays of the model that are no parameters: keys of random numbers.
  private var randomState: [MLXArray] {
    let parameters = Set(model.parameters().values.map(ObjectIdentifier.init))
    return model.innerState().filter { !parameters.contains(ObjectIdentifier($0)) }
  }

  /// Continues from the checkpoint of a step.
  private func restore(step: Int) throws {
    if let guide {
      try guide.remove(from: model)
      if step >= guide.steps {
        self.guide = nil
        updater = try Trainer.makeUpdater(recipe, model, group)
        average = recipe.average.map { RunningAverage(model, decay: $0) }
      }
    }
    let arrays = try checkpoints.load(step: step, into: model)
    restoreGuide()
    func part(_ kind: Kind) -> OrderedDictionary<String, MLXArray> {
      var result: OrderedDictionary<String, MLXArray> = [:]
      for (name, value) in arrays.sorted(by: { $0.key < $1.key })
      where name.hasPrefix(kind.name("")) {
        result[String(name.dropFirst(kind.name("").count))] = value
      }
      return result
    }
    func dictionary(_ kind: Kind) -> [String: MLXArray] {
      Dictionary(uniqueKeysWithValues: part(kind).map { ($0.key, $0.value) })
    }
    try guide?.restore(dictionary(.guide))
    try updater.restore(part(.optimizer), for: model)
    try average?.restore(dictionary(.average))
    let saved = dictionary(.state)
    for (index, array) in randomState.enumerated() {
      if let value = saved["\(index)"], value.shape == array.shape { array.update(value) }
    }
    remakeStep()
    try eval(model, updater)
  }

  /// Writes the trained model, and the one of averaged weights, as Hugging Face lays them out.
  func writeModels() throws {
    guard recipe.checkpointsKept > 0 else { return }
    func write(_ name: String) throws {
      let target = recipe.output.appending(path: name)
      if let source {
        try source.write(to: target, replacingExisting: true)
      } else {
        try model.write(to: target, replacingExisting: true) { folder in
          // With it the folder can read and write texts.
          if let tokenizer = data.tokenizer {
            try FileSystem.copy(tokenizer, to: folder.appending(path: "tokenizer.json"))
          }
        }
      }
    }
    try guide?.remove(from: model)
    guide = nil
    try write("model")
    try average?.inPlace(of: model) { try write("model-average") }
  }
}
