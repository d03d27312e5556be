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
  }

  /// The structure.
  public var target: Target
  /// The layers, all where empty.
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
    guard ratio > 1, ratio.isFinite else {
      throw ConversionError("[convert] expected a ratio above 1, got \(ratio).")
    }
    self.init(.family(try StructureFamily(parsing: text), ratio: ratio), layers: patterns)
  }

  /// The structure, and the layers if not all.
  public var description: String {
    let structure =
      switch target {
      case .spec(let spec): "\(spec)"
      case .family(let family, let ratio): "\(family) at 1/\(ratio)"
      }
    return layers.isEmpty
      ? structure : "\(structure) for \(layers.map(\.description).joined(separator: ", "))"
  }

  /// Whether the rule is about a layer.
  func applies(to path: String) -> Bool {
    layers.isEmpty || layers.contains { $0.matches(path) }
  }

  /// The spec for a layer of K inputs and N outputs.
  ///
  /// Throws a sentence if none fits.
  func spec(inputs: Int, outputs: Int) throws -> OperatorSpec {
    switch target {
    case .spec(let spec): spec
    case .family(let family, let ratio):
      try family.spec(inputs: inputs, outputs: outputs, ratio: ratio)
    }
  }
}

/// A structure without its size: what a budget of multiply-adds chooses from.
public struct StructureFamily: Hashable, Sendable, CustomStringConvertible {
  /// The name of the structure, with options but without rank or blocks.
  public let description: String
  private let sizeOption: String

  /// A family by name: `lowrank`, `tt`, `btt`, `monarch`, `stl`, with further options after `:`.
  ///
  /// Throws a sentence for any other name, or if the size is given all the same.
  public init(parsing text: String) throws {
    let options = [
      "lowrank": "rank", "tt": "rank", "btt": "rank", "stl": "rank", "monarch": "blocks",
    ]
    let name = String(text.prefix { $0 != ":" })
    guard let option = options[name] else {
      throw ConversionError(
        "[convert] expected one of \(options.keys.sorted().joined(separator: ", ")) beside a "
          + "ratio, got '\(text)'; give a whole spec without a ratio for other structures.")
    }
    description = text
    sizeOption = option
    if try text.contains(Regex("[:,]\(option)=")) {
      throw ConversionError(
        "[convert] expected '\(text)' without \(option) beside a ratio, which chooses it.")
    }
    _ = try member(1)
  }

  private func member(_ size: Int) throws -> OperatorSpec {
    let separator = description.contains(":") ? "," : ":"
    return try OperatorSpec(parsing: "\(description)\(separator)\(sizeOption)=\(size)")
  }

  /// The member with the most multiply-adds among those with at most N·K / ratio.
  func spec(inputs: Int, outputs: Int, ratio: Double) throws -> OperatorSpec {
    let budget = Double(inputs) * Double(outputs) / ratio
    var best: (spec: OperatorSpec, cost: Double)?
    // Sizes that do not fit (a rank beyond the lossless one, blocks that lose rank) are passed over.
    for size in 1...min(inputs, outputs) {
      guard let spec = try? member(size),
        let structure = try? spec.makeOperator(inputs: inputs, outputs: outputs)
      else { continue }
      let cost = structure.cost.multiplyAdds
      if cost <= budget, cost > best?.cost ?? 0 { best = (spec, cost) }
    }
    guard let best else {
      throw ConversionError(
        "[convert] expected a \(description) with at most \(Int(budget)) multiply-adds for "
          + "\(inputs) inputs and \(outputs) outputs, found none; use a smaller ratio.")
    }
    return best.spec
  }
}
