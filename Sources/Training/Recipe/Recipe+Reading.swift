import Foundation
import MLX
import Models
import Operators

extension Recipe {
  /// Reads a recipe.
  ///
  /// Throws ``RecipeError`` with everything that is wrong with it.
  public init(contentsOf url: URL) throws {
    let (text, folder) = try YAMLDocument.text(of: url, operation: "recipe")
    try self.init(text, folder: folder)
  }

  /// Reads the text of a recipe whose paths are relative to a folder.
  ///
  /// Throws ``RecipeError`` with everything that is wrong with it.
  public init(_ text: String, folder: URL) throws {
    try self.init(YAMLDocument.parse(text), folder: folder)
  }

  /// Reads a recipe's document, whose paths are relative to a folder.
  ///
  /// Throws ``RecipeError`` with everything that is wrong with it.
  init(_ document: JSON, folder: URL) throws {
    guard let object = document.object else {
      throw RecipeError(problems: [
        "[recipe] expected a mapping of keys to values, got \(document.kind)."
      ])
    }
    let root = RecipeSection(object, notes: RecipeSection.Notes())
    let base = URL(filePath: folder.path(percentEncoded: false), directoryHint: .isDirectory)
    func path(_ section: RecipeSection, _ key: String) -> URL {
      let text = section.string(key)
      return URL(filePath: text.isEmpty ? "." : text, relativeTo: base).standardizedFileURL
    }
    self.document = document.encoded()
    start = Recipe.start(root) { path($0, $1) }
    structures = Recipe.structures(root)
    learnsEncoders = root.choice("encoders", default: Encoders.learnt) == .learnt
    rules = TrainingRules(root.section("rules"))
    guidedSteps = root.integer("guided_steps", in: 0...Int(Int32.max), default: 0)
    data = path(root, "data")
    if root.value("length") != nil { length = root.integer("length") }
    augmentation = ImageAugmentation(root.section("augmentation"))
    output = path(root, "output")
    batch = root.integer("batch")
    accumulation = root.integer("accumulation", default: 1)
    steps = root.integer("steps")
    optimizer = Adam(root.section("optimizer"))
    schedule = Decay(root.section("schedule"), steps: steps)
    clip = root.numberIfAny("clip", above: 0)
    average = root.numberIfAny("average", above: 0, below: 1)
    precision = root.choice("precision", default: .float32)
    seed = UInt64(root.integer("seed", in: 0...Int.max, default: 0))
    labelSmoothing = root.number("label_smoothing", from: 0, to: 1, default: 0)
    if let section = root.section("distillation") {
      distillation = Distillation(
        teacher: path(section, "teacher"),
        weight: section.number("weight", from: 0, to: 1, default: 0.5),
        temperature: section.number("temperature", from: 0, closed: false, default: 1))
      section.finish()
    }
    compiles = root.bool("compile", default: true)
    let checkpoints = root.section("checkpoints")
    checkpointInterval = checkpoints?.integer("every", default: steps) ?? steps
    checkpointsKept = checkpoints?.integer("keep", in: 0...Int(Int32.max), default: 2) ?? 2
    checkpoints?.finish()
    let evaluation = root.section("evaluation")
    evaluationInterval = evaluation?.integer("every", default: steps) ?? steps
    evaluationExamples = evaluation?.integer("examples", default: 1024) ?? 1024
    evaluation?.finish()
    let processes = root.section("processes")
    shardsOptimizer = processes?.bool("shard_optimizer", default: false) ?? false
    processes?.finish()
    root.finish()
    if batch % accumulation != 0 {
      root.note("accumulation", expected: "a divisor of the batch \(batch)", got: "\(accumulation)")
    }
    guard root.notes.problems.isEmpty else { throw RecipeError(problems: root.notes.problems) }
    try validate()
  }

  private enum Encoders: String, CaseIterable {
    case learnt, frozen
  }

  private static func start(
    _ root: RecipeSection, path: (RecipeSection, String) -> URL
  ) -> Start {
    guard let section = root.section("model", isNeeded: true) else {
      return .new(type: "", sizes: "{}")
    }
    guard !section.has("checkpoint") else {
      let url = path(section, "checkpoint")
      section.finish()
      return .checkpoint(url)
    }
    let type = section.string("type", default: "")
    guard ModelRegistry.newModelTypes.contains(type) else {
      section.note(
        "type", expected: ModelRegistry.newModelTypes.joined(separator: " or "),
        got: type.isEmpty ? "none" : "\"\(type)\"",
        advice: "or name a folder to fine-tune as `model.checkpoint`")
      return .new(type: type, sizes: "{}")
    }
    return .new(type: type, sizes: section.sizes(of: type))
  }

  private static func structures(_ root: RecipeSection) -> [Structure] {
    root.sections("structures").compactMap { section in
      let pattern = section.string("layers")
      let text = section.string("to")
      defer { section.finish() }
      do {
        return Structure(
          layers: LayerPattern(pattern), spec: try OperatorSpec(parsing: text))
      } catch {
        if !text.isEmpty {
          section.note("to", expected: "a structure", got: "\"\(text)\"", advice: "\(error)")
        }
        return nil
      }
    }
  }

  /// Throws what only the model itself can tell: sizes, layers that patterns miss, structures that
  /// do not fit.
  ///
  /// Cost: the sizes of the model's arrays; nothing is computed.
  private func validate() throws {
    do {
      _ = try makeModel(computing: false)
    } catch let error as RecipeError {
      throw error
    } catch {
      throw RecipeError(problems: ["\(error)"])
    }
  }
}

extension RecipeSection {
  /// The sizes of a model as the text of a `config.json`.
  fileprivate func sizes(of type: String) -> String {
    var sizes = JSON.Object()
    for (key, value) in entries where key != "type" {
      sizes[key] = value
      _ = self.value(key)
    }
    // transformers gives the number of classes as a list of their names, too long to write.
    let file = ConfigurationFile(path: "the recipe's model", object: sizes)
    do {
      guard let model = try ModelRegistry.make(type, sizes: file) else { return "{}" }
      let text = model.configurationText
      let known = try JSON(parsing: Array(text.utf8)).object?.keys ?? []
      let names = (known + ["num_labels"]).filter { !["architectures", "model_type"].contains($0) }
      for key in sizes.keys where !names.contains(key) {
        note(
          key, expected: "one of \(names.joined(separator: ", "))", got: "another key")
      }
    } catch {
      notes.problems.append("\(error)")
    }
    return JSON.object(sizes).encoded()
  }
}

extension Recipe.Adam {
  init(_ section: RecipeSection?) {
    guard let section else { return }
    rate = section.number("rate", from: 0, closed: false, default: 1e-3)
    epsilon = section.number("epsilon", from: 0, closed: false, default: 1e-8)
    decay = section.number("decay", from: 0, default: 0)
    if let value = section.value("betas") {
      let numbers = value.array?.compactMap(\.double) ?? []
      if numbers.count == 2, numbers.allSatisfy({ $0 >= 0 && $0 < 1 }) {
        betas = numbers
      } else {
        section.note("betas", expected: "two numbers of at least 0 and below 1", got: value.kind)
      }
    }
    section.finish()
  }
}

extension Recipe.Decay {
  init(_ section: RecipeSection?, steps: Int) {
    guard let section else { return }
    kind = section.choice("kind", default: .cosine)
    warmUp = section.integer("warm_up", in: 0...max(0, steps), default: 0)
    final = section.number("final", from: 0, to: 1, default: 0)
    let remaining = max(0, steps - warmUp)
    switch kind {
    case .wsd:
      decay = section.integer("decay", in: 0...remaining, default: min(remaining, steps / 5))
    case .constant, .cosine:
      if section.value("decay") != nil {
        section.note(
          "decay", expected: "no key", got: "one", advice: "it belongs to `kind: wsd`")
      }
    }
    section.finish()
  }
}
