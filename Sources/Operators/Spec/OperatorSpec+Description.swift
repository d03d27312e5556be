extension OperatorSpec: CustomStringConvertible {
  /// The text that ``init(parsing:)`` reads back as the same spec; defaults are left out.
  public var description: String {
    switch self {
    case .dense: "dense"
    case .lowRank(let rank): "lowrank:rank=\(rank)"
    case .kronecker(let input, let output):
      Self.text("kronecker", ["in": input?.description, "out": output?.description])
    case .tensorTrain(let rank, let input, let output):
      Self.text(
        "tt", ["rank": "\(rank)", "in": input?.description, "out": output?.description])
    case .monarch(let blocks): "monarch:blocks=\(blocks)"
    case .blockTensorTrain(let rank, let input, let output, let normalized):
      Self.text(
        "btt",
        [
          "rank": "\(rank)", "in": input?.description, "out": output?.description,
          "norm": normalized ? "true" : nil,
        ])
    case .kroneckerSparse(let patterns):
      "ks:" + patterns.map(\.description).joined(separator: "+")
    case .strassenTile(let rank, let tile, let encoder, let rows):
      Self.text(
        "stl",
        [
          "rank": "\(rank)", "tile": tile == 4 ? nil : "\(tile)", "encoder": encoder,
          "rows": rows == .sequence ? nil : rows.rawValue,
        ])
    case .twoFour: "2:4"
    }
  }

  /// `name:key=value,…` with the options that have a value, or the name alone.
  private static func text(
    _ name: String, _ options: KeyValuePairs<String, String?>
  ) -> String {
    let given = options.compactMap { key, value in value.map { "\(key)=\($0)" } }
    return given.isEmpty ? name : name + ":" + given.joined(separator: ",")
  }
}
