import Layers
import MLX
import MLXNN
import MLXOptimizers
import Models
import Operators
import OrderedCollections

/// How a model starts, and how fast each of its parameters learns.
///
/// The structured rules treat every core of a structured layer as a dense map of its own
/// (``/Operators/Core``), so that one base learning rate suits all widths and structures.
///
/// Source: Qiu et al., "Compute better spent: replacing dense layers with structured matrices",
/// 2024 (arXiv 2406.06248), section 3 and table 2; the width scaling is that of Yang et al.,
/// "Tensor programs V", 2022 (arXiv 2203.03466), table 8, for Adam.
public struct TrainingRules: Hashable, Sendable {
  /// How random weights are chosen.
  public enum Initialization: String, Sendable, CaseIterable {
    /// σ = √min(d_in, d_out) / d_in for every dense weight and every core.
    case structured
    /// What the model's family asks for; for structured layers as above.
    case family
  }

  /// What the base learning rate is multiplied by.
  public enum Rates: String, Sendable, CaseIterable {
    /// κ by structure, times base width over width.
    case structured
    /// 1.
    case uniform
  }

  /// How random weights are chosen.
  public var initialization = Initialization.structured
  /// What the base learning rate is multiplied by.
  public var rates = Rates.structured
  /// The hidden size for which the base learning rate is right; `nil` for the model's own.
  public var baseWidth: Int?
  /// Whether the last core of the last layer of each residual branch, and the output layer, start
  /// at zero.
  public var zeroesLastLayers = true

  /// The structured rules.
  public init() {}

  init(_ section: RecipeSection?) {
    guard let section else { return }
    initialization = section.choice("initialization", default: .structured)
    rates = section.choice("rates", default: .structured)
    if section.value("base_width") != nil { baseWidth = section.integer("base_width") }
    zeroesLastLayers = section.bool("zero_last", default: true)
    section.finish()
  }
}

// MARK: - Learning rates

extension TrainingRules {
  /// How the optimiser treats each parameter of a model, by path.
  ///
  /// A parameter of a linear layer of K inputs learns at η · (K_base / K) · κ, where K_base is the
  /// inputs of the same layer in a model of ``baseWidth`` and κ is the operator's multiplier, 1 for
  /// dense. All else learns at η. Weight decay is for matrices: not for biases, norms, tables, the
  /// scalars of weight normalisation, encoders and decoders.
  ///
  /// Throws where no model of the base width can be made.
  public func groups(for model: any CheckpointModel) throws -> [String: ParameterGroup] {
    let baseInputs = try baseWidth.map { try linearInputs(model.resized(to: $0)) } ?? [:]
    var groups = model.parameters().mapValues { _ in ParameterGroup(weightDecay: false) }
    for (path, module) in model.namedModules() {
      guard
        let inputs = (module as? Linear)?.inputDimensions
          ?? (module as? StructuredLinear)?.structure.inputs
      else { continue }
      // A layer inside a guided one has its place's base.
      let place =
        path.hasSuffix(GuidedLinear.structuredKey) || path.hasSuffix(GuidedLinear.guideKey)
        ? String(path[..<(path.lastIndex(of: ".") ?? path.endIndex)]) : path
      let width = rates == .uniform ? 1 : Double(baseInputs[place] ?? inputs) / Double(inputs)
      func set(_ name: String, _ multiplier: Double, decays: Bool) {
        groups[path.isEmpty ? name : "\(path).\(name)"] = ParameterGroup(
          learningRateMultiplier: Float(multiplier), weightDecay: decays)
      }
      if let layer = module as? StructuredLinear {
        let structure = layer.structure
        let multipliers = structure.learningRateMultipliers
        for name in structure.shapes.keys {
          let isMatrix = structure.isMatrix(name)
          let own = rates == .uniform ? 1 : multipliers[name] ?? 1
          set("\(layer.parameterPrefix).\(name)", isMatrix ? width * own : own, decays: isMatrix)
        }
      } else {
        set("weight", width, decays: true)
      }
    }
    return Dictionary(uniqueKeysWithValues: groups.map { ($0.key, $0.value) })
  }

  private func linearInputs(_ model: any CheckpointModel) -> [String: Int] {
    var inputs: [String: Int] = [:]
    for (path, module) in model.namedModules() {
      if let layer = module as? Linear { inputs[path] = layer.inputDimensions }
    }
    return inputs
  }
}

extension LinearOperator {
  /// Whether a parameter is a matrix that the layer multiplies by, rather than a scalar of weight
  /// normalisation or a change of bases.
  fileprivate func isMatrix(_ name: String) -> Bool {
    if self is StrassenTile { return !StrassenTile.bases.contains(name) }
    return (shapes[name]?.count ?? 0) > 1
  }
}

extension CheckpointModel {
  /// A model of the same family, depth and number of heads with another hidden size, all zeros.
  func resized(to width: Int) throws -> any CheckpointModel {
    // Other sizes keep their ratio to the hidden one.
    func resized<Sizes>(
      _ sizes: Sizes, _ hidden: WritableKeyPath<Sizes, Int>,
      _ others: WritableKeyPath<Sizes, Int>...
    ) -> Sizes {
      var result = sizes
      for size in others {
        result[keyPath: size] = max(
          1, sizes[keyPath: size] * width / max(1, sizes[keyPath: hidden]))
      }
      result[keyPath: hidden] = width
      return result
    }
    switch self {
    case let model as MLPModel:
      return MLPModel(resized(model.configuration, \.hiddenSize))
    case let model as ViTModel:
      return ViTModel(resized(model.configuration, \.hiddenSize, \.intermediateSize))
    case let model as T2TViTModel:
      return T2TViTModel(resized(model.configuration, \.hiddenSize, \.intermediateSize))
    case let model as GPT2Model:
      return GPT2Model(resized(model.configuration, \.hiddenSize, \.intermediateSize))
    case let model as LlamaModel:
      return LlamaModel(resized(model.configuration, \.hiddenSize, \.intermediateSize, \.headSize))
    default:
      throw TrainingError(
        "[rules] expected a model that can be made in another width for `rules.base_width`, got "
          + "\(Self.modelType); leave the key out.")
    }
  }
}
