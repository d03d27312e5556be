import MLXNN
import Models
import Operators
import OrderedCollections
/// What becomes of every linear layer of a model, decided and checked before anything is touched.
public struct ConversionPlan: Sendable {
  /// A layer and its structure.
  public struct Layer: Sendable {
    /// The layer's path in the model.
    public var path: String
    /// The structure; of a layer that shares a budget, the first alternative until that is decided.
    public var structure: any LinearOperator
    /// What a layer that shares a budget may become.
    var alternatives: [any LinearOperator] = []
    /// The number of the rule whose budget it shares.
    var rule = 0
    /// The number of the array that it reads; of a layer that never runs, one of its own.
    var group = 0
  }

  /// The layers to convert, in the order in which they run.
  public var layers: [Layer]
  /// The dense layers that stay as they are.
  public var kept: [String]
  let rules: [ConversionRule]

  /// Plans by the first rule that applies to each layer.
  ///
  /// Throws a sentence if a rule applies to no layer, or if a structure does not fit a layer or would
  /// let a causal model see later tokens.
  public init(for model: any StagedModel, rules: [ConversionRule]) throws {
    layers = []
    kept = []
    self.rules = rules
    var used = Set<Int>()
    let trace = try LayerTrace(of: model)
    for (path, module) in model.namedModules() {
      guard let linear = module as? Linear else { continue }
      let isOfStack = trace.stage(of: path).map(model.stack.contains) ?? false
      guard let index = rules.firstIndex(where: { $0.applies(to: path, isOfStack: isOfStack) })
      else {
        kept.append(path)
        continue
      }
      used.insert(index)
      let (inputs, outputs) = (linear.inputDimensions, linear.outputDimensions)
      do {
        let structures = try rules[index].structures(inputs: inputs, outputs: outputs)
        guard let first = structures.first, rules[index].target != .spec(.dense) else {
          kept.append(path)
          continue
        }
        for structure in structures {
          try (structure as? StrassenTile)?.validate(for: type(of: model).tokenFlow)
        }
        layers.append(
          Layer(
            path: path, structure: first,
            alternatives: rules[index].isBudget ? structures : [], rule: index,
            group: trace.calls[path]?.group ?? -1 - layers.count))
      } catch {
        throw ConversionError("\(path): \(error)")
      }
    }
    for (index, rule) in rules.enumerated() where !used.contains(index) {
      throw ConversionError(
        "[convert] expected a linear layer that '\(rule)' applies to, found none; see the layers "
          + "with `tessera inspect`.")
    }
    let order = trace.calls.keys
    layers.sort { a, b in
      (order.firstIndex(of: a.path) ?? order.count) < (order.firstIndex(of: b.path) ?? order.count)
    }
  }

  /// The layers in groups that are fitted on the same run of the model: those that read the same
  /// array, such as query, key and value.
  ///
  /// Layers that feed each other are apart, so that each is fitted on what the one before it has
  /// become. A block fitted as a whole, on the inputs that its dense layers gave, loses
  /// much more: its last layers never see the errors of its first.
  var groups: [[Layer]] {
    var groups: [[Layer]] = []
    for layer in layers {
      if groups.last?.first?.group == layer.group {
        groups[groups.count - 1].append(layer)
      } else {
        groups.append([layer])
      }
    }
    return groups
  }
}
