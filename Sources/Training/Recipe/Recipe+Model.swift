import Foundation
import Layers
import MLX
import MLXNN
import Models
import Operators
import OrderedCollections

/// A model made by a recipe, and what it came from.
struct PreparedModel {
  let module: any CheckpointModel
  /// The folder that is fine-tuned.
  let checkpoint: (any Checkpoint)?
  /// The dense layers beside the structured ones, if they have any.
  let guide: GuidedStart?
}

extension Recipe {
  /// The model with its structures, its first weights and its element type.
  ///
  /// Random numbers depend on the seed alone. Without `computing` nothing is: enough to see whether
  /// the recipe fits.
  ///
  /// Throws what is wrong with sizes, patterns, structures or the folder.
  func makeModel(computing: Bool = true) throws -> PreparedModel {
    let keys = MLXRandom.split(key: MLXRandom.key(seed), into: 3)
    let checkpoint: (any Checkpoint)?
    let model: any CheckpointModel
    switch start {
    case .new(let type, let sizes):
      let file = ConfigurationFile(
        path: "the recipe's model",
        object: try JSON(parsing: Array(sizes.utf8)).object ?? JSON.Object())
      guard let made = try ModelRegistry.make(type, sizes: file) else {
        throw TrainingError(
          "[recipe] expected a `model.type` of "
            + "\(ModelRegistry.newModelTypes.joined(separator: ", ")), got \(type).")
      }
      (checkpoint, model) = (nil, made)
    case .checkpoint(let url):
      let opened = try ModelRegistry.load(
        CheckpointFolder(url: url), structuredLayers: .standard, readingWeights: computing)
      (checkpoint, model) = (opened, opened.module)
    }
    guard model is any LanguageModel || model is any ImageClassifier else {
      throw TrainingError(
        "[recipe] expected a language model or a classifier of images, got "
          + "\(type(of: model).modelType); train one of "
          + "\(ModelRegistry.newModelTypes.joined(separator: ", ")).")
    }
    let specs = try specs(for: model)
    if checkpoint == nil {
      let readsTokens = !(model is MLPModel)
      try model.replaceLayers(
        readsTokens ? specs.mapValues { $0.startingAnew(seed: seed) } : specs, key: keys[0])
      if computing { try rules.initialize(model, key: keys[1]) }
    } else {
      try model.fitLayers(specs, computing: computing)
    }
    if !learnsEncoders {
      guard
        model.modules().contains(where: { ($0 as? StructuredLinear)?.structure is StrassenTile })
      else {
        throw TrainingError(
          "[recipe] expected Strassen-Tile layers with `encoders: frozen`, got none; give some "
            + "layers `to: stl:rank=...`.")
      }
      try model.freeze(keys: StrassenTile.bases.sorted().map { "stl.\($0)" })
    }
    if computing, precision != .float32 {
      try model.apply(filter: { $1.dtype.isFloatingPoint }, map: { $0.asType(precision.dtype) })
      try eval(model)
    }
    let guide =
      guidedSteps > 0 ? try GuidedStart(model, steps: guidedSteps, key: keys[2]) : nil
    if computing, precision != .float32, guide != nil {
      try model.apply(filter: { $1.dtype == .float32 }, map: { $0.asType(precision.dtype) })
    }
    return PreparedModel(module: model, checkpoint: checkpoint, guide: guide)
  }

  /// The structure of each layer that a rule names, by path.
  ///
  /// Throws where a rule names no layer that is left.
  private func specs(
    for model: any CheckpointModel
  ) throws -> OrderedDictionary<String, OperatorSpec> {
    var specs = OrderedDictionary<String, OperatorSpec>()
    var named: Set<Int> = []
    let paths = model.namedModules().filter { $0.value is Linear }.keys
    for path in paths {
      guard let index = structures.firstIndex(where: { $0.layers.matches(path) }) else { continue }
      named.insert(index)
      if structures[index].spec != .dense { specs[path] = structures[index].spec }
    }
    let problems = structures.indices.filter { !named.contains($0) }.map { index in
      "[recipe] expected a pattern of dense layers that no rule before it names as "
        + "`structures[\(index)].layers`, got \"\(structures[index].layers)\"; layers are "
        + paths.prefix(6).joined(separator: ", ") + (paths.count > 6 ? ", ..." : ".")
    }
    guard problems.isEmpty else { throw RecipeError(problems: problems) }
    return specs
  }
}

extension CheckpointModel {
  /// Puts structured layers in the places of dense ones, fitted to their weights.
  func fitLayers(_ specs: OrderedDictionary<String, OperatorSpec>, computing: Bool) throws {
    let modules = namedModules()
    var layers: [(key: String, value: Module)] = []
    for (path, spec) in specs {
      guard let dense = modules[path] as? Linear else { continue }
      let structure = try spec.makeOperator(
        inputs: dense.inputDimensions, outputs: dense.outputDimensions)
      try (structure as? StrassenTile)?.validate(for: Self.tokenFlow)
      let parameters =
        computing
        ? try structure.fit(FitTarget(weight: dense.weight.asType(.float32)))
        : structure.initialize(key: MLXRandom.key(0))
      layers.append(
        (path, try StructuredLinear(structure, parameters: parameters, bias: dense.bias)))
    }
    try update(modules: layers)
  }
}
