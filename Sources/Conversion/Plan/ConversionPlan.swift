import MLXNN
import Operators
import OrderedCollections
/// What becomes of every linear layer of a model, decided and checked before anything is touched.
public struct ConversionPlan: Sendable {
  /// A layer and its structure.
  public struct Layer: Sendable {
    /// The layer's path in the model.
    public var path: String
    /// The structure.
    public var structure: any LinearOperator
  }

  /// The layers to convert, in the order of the model.
  public var layers: [Layer]
  /// The dense layers that stay as they are.
  public var kept: [String]

  /// Plans by the first rule that applies to each layer.
  ///
  /// Throws a sentence if a rule applies to no layer, or a structure does not fit a layer.
  public init(for model: Module, rules: [ConversionRule]) throws {
    layers = []
    kept = []
    var used = Set<Int>()
    for (path, module) in model.namedModules() {
      guard let linear = module as? Linear else { continue }
      guard let index = rules.firstIndex(where: { $0.applies(to: path) }) else {
        kept.append(path)
        continue
      }
      used.insert(index)
      let (inputs, outputs) = (linear.inputDimensions, linear.outputDimensions)
      do {
        let spec = try rules[index].spec(inputs: inputs, outputs: outputs)
        if spec == .dense {
          kept.append(path)
        } else {
          layers.append(
            Layer(
              path: path, structure: try spec.makeOperator(inputs: inputs, outputs: outputs)))
        }
      } catch {
        throw ConversionError("\(path): \(error)")
      }
    }
    for (index, rule) in rules.enumerated() where !used.contains(index) {
      throw ConversionError(
        "[convert] expected a linear layer that '\(rule)' applies to, found none; see the layers "
          + "with `tessera inspect`.")
    }
  }

  /// The layers in groups that are fitted on the same run of the model: those of one block, by the
  /// path up to its first number.
  var groups: [[Layer]] {
    var groups: [(key: String, layers: [Layer])] = []
    for layer in layers {
      let parts = layer.path.split(separator: ".")
      let end = parts.firstIndex { Int($0) != nil }
      let key = end.map { parts[...$0].joined(separator: ".") } ?? layer.path
      if groups.last?.key == key {
        groups[groups.count - 1].layers.append(layer)
      } else {
        groups.append((key, [layer]))
      }
    }
    return groups.map(\.layers)
  }
}
