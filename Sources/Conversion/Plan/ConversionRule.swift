import Models
import Operators

/// What some layers become.
public struct ConversionRule: Hashable, Sendable, CustomStringConvertible {
  /// How a rule names a structure.
  public enum Target: Hashable, Sendable {
    /// One spec for all layers.
    case spec(OperatorSpec)
    /// The richest member of a family with at most 1 / ratio of the dense multiply-adds, layer by
    /// layer.
    case family(StructureFamily, ratio: Double)
    /// Whatever costs least fidelity, layer by layer, with at most 1 / ratio of the dense
    /// multiply-adds of all layers together; some may stay dense.
    case budget([StructureChoice], ratio: Double)
  }

  /// The structure.
  public var target: Target
  /// The layers; where empty, those of the model's stack.
  public var layers: [LayerPattern]

  /// Makes a rule.
  public init(_ target: Target, layers: [LayerPattern] = []) {
    self.target = target
    self.layers = layers
  }

  /// A rule as the command line has it: a spec, or with a ratio the name of a family, perhaps with
  /// options (`stl:rows=batch`).
  ///
  /// Throws a sentence where the text is neither.
  public init(parsing text: String, ratio: Double?, layers: [String] = []) throws {
    let patterns = layers.map { LayerPattern($0) }
    guard let ratio else {
      self.init(.spec(try OperatorSpec(parsing: text)), layers: patterns)
      return
    }
    try Self.check(ratio)
    self.init(.family(try StructureFamily(parsing: text), ratio: ratio), layers: patterns)
  }

  /// A rule that shares a budget out: `lowrank,2:4` names what may be chosen from, families or whole
  /// specs.
  ///
  /// Throws a sentence where a part of the text is neither.
  public init(parsing text: String, budget ratio: Double, layers: [String] = []) throws {
    try Self.check(ratio)
    self.init(
      .budget(try StructureChoice.list(parsing: text), ratio: ratio),
      layers: layers.map { LayerPattern($0) })
  }

  private static func check(_ ratio: Double) throws {
    guard ratio > 1, ratio.isFinite else {
      throw ConversionError("[convert] expected a ratio above 1, got \(ratio).")
    }
  }

  /// The structure, and the layers if not all.
  public var description: String {
    let structure =
      switch target {
      case .spec(let spec): "\(spec)"
      case .family(let family, let ratio): "\(family) at 1/\(ratio)"
      case .budget(let choices, let ratio):
        "\(choices.map(\.description).joined(separator: ",")) within 1/\(ratio)"
      }
    return layers.isEmpty
      ? structure : "\(structure) for \(layers.map(\.description).joined(separator: ", "))"
  }

  /// Whether the layers share a budget.
  var isBudget: Bool {
    if case .budget = target { true } else { false }
  }

  /// Whether the rule is about a layer.
  func applies(to path: String, isOfStack: Bool) -> Bool {
    layers.isEmpty ? isOfStack : layers.contains { $0.matches(path) }
  }

  /// What a layer of K inputs and N outputs may become: one structure, or for a budget several.
  ///
  /// Throws a sentence if none fits.
  func structures(inputs: Int, outputs: Int) throws -> [any LinearOperator] {
    switch target {
    case .spec(let spec):
      return [try spec.makeOperator(inputs: inputs, outputs: outputs)]
    case .family(let family, let ratio):
      let spec = try family.spec(inputs: inputs, outputs: outputs, ratio: ratio)
      return [try spec.makeOperator(inputs: inputs, outputs: outputs)]
    case .budget(let choices, _):
      let structures = choices.flatMap { $0.structures(inputs: inputs, outputs: outputs) }
      return structures + [Dense(inputs: inputs, outputs: outputs)]
    }
  }
}
