import Operators

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

/// What a budget may be spent on.
public enum StructureChoice: Hashable, Sendable, CustomStringConvertible {
  /// One spec.
  case spec(OperatorSpec)
  /// Members of a family, small to large.
  case family(StructureFamily)

  /// The spec or the family's name.
  public var description: String {
    switch self {
    case .spec(let spec): spec.description
    case .family(let family): family.description
    }
  }

  /// Reads a list such as `lowrank,stl:rank=24,rows=batch,2:4`.
  ///
  /// Throws a sentence where a part is neither a spec nor a family.
  static func list(parsing text: String) throws -> [StructureChoice] {
    var parts: [String] = []
    // A comma also stands between the options of one spec, which all have the form name=value.
    for part in text.split(separator: ",", omittingEmptySubsequences: false).map(String.init) {
      let begins =
        !part.contains("=") || OperatorSpec.names.contains(String(part.prefix { $0 != ":" }))
      if begins || parts.isEmpty {
        parts.append(part)
      } else {
        parts[parts.count - 1] += "," + part
      }
    }
    return try parts.map { part in
      if let spec = try? OperatorSpec(parsing: part) { return .spec(spec) }
      // A size that was given makes it a spec with something wrong, which the spec's own sentence
      // says best.
      if part.contains("=") && (try? StructureFamily(parsing: part)) == nil {
        return .spec(try OperatorSpec(parsing: part))
      }
      return .family(try StructureFamily(parsing: part))
    }
  }

  /// The shares of the dense multiply-adds at which members of a family are tried.
  private static let shares = [0.2, 0.35, 0.5, 0.65, 0.8]

  /// The structures for a layer of K inputs and N outputs, those that fit it and cost less than
  /// dense.
  func structures(inputs: Int, outputs: Int) -> [any LinearOperator] {
    let specs: [OperatorSpec] =
      switch self {
      case .spec(let spec): [spec]
      case .family(let family):
        Self.shares.compactMap {
          try? family.spec(inputs: inputs, outputs: outputs, ratio: 1 / $0)
        }
      }
    let dense = Double(inputs) * Double(outputs)
    var seen = Set<OperatorSpec>()
    return specs.filter { seen.insert($0).inserted }
      .compactMap { try? $0.makeOperator(inputs: inputs, outputs: outputs) }
      .filter { $0.cost.multiplyAdds < dense }
  }
}
