extension OperatorSpec {
  /// The names that a spec can begin with.
  public static let names = [
    "dense", "lowrank", "kronecker", "tt", "monarch", "btt", "ks", "stl", "2:4",
  ]

  /// The largest number in a spec: what MLX can index an axis by.
  static let largestSize = Int(Int32.max)

  /// Reads a spec from its text.
  ///
  /// Throws a sentence that says which part is wrong, and what would be right.
  public init(parsing text: String) throws(SpecError) {
    if text == "2:4" {
      self = .twoFour
      return
    }
    let colon = text.firstIndex(of: ":")
    let name = String(text[..<(colon ?? text.endIndex)])
    let rest = colon.map { String(text[text.index(after: $0)...]) }
    if name == "ks" {
      self = .kroneckerSparse(try Self.patterns(rest ?? "", in: text))
      return
    }
    guard Self.names.contains(name) else {
      throw SpecError(
        "[spec] expected one of \(Self.names.joined(separator: ", ")), got '\(name)' in "
          + "'\(text)'; did you mean \(Self.nearest(to: text, name))?")
    }
    var options = try Options(rest, name: name, text: text)
    switch name {
    case "lowrank": self = .lowRank(rank: try options.required("rank"))
    case "kronecker":
      self = .kronecker(input: try options.factors("in"), output: try options.factors("out"))
    case "tt":
      self = .tensorTrain(
        rank: try options.required("rank"), input: try options.factors("in"),
        output: try options.factors("out"))
    case "monarch": self = .monarch(blocks: try options.required("blocks"))
    case "btt":
      self = .blockTensorTrain(
        rank: try options.required("rank"), input: try options.factors("in"),
        output: try options.factors("out"), normalized: try options.flag("norm"))
    case "stl":
      self = .strassenTile(
        rank: try options.required("rank"), tile: try options.integer("tile") ?? 4,
        encoder: options.take("encoder"), rows: try options.rowPolicy("rows") ?? .sequence)
    default: self = .dense
    }
    try options.finish()
  }

  /// The patterns `AxBxCxD+AxBxCxD…` of a Kronecker-sparse chain.
  private static func patterns(
    _ list: String, in text: String
  ) throws(SpecError) -> [KroneckerPattern] {
    var patterns: [KroneckerPattern] = []
    for part in list.split(separator: "+", omittingEmptySubsequences: false) {
      let sizes = part.split(separator: "x", omittingEmptySubsequences: false).map(positive)
      guard sizes.count == 4, let a = sizes[0], let b = sizes[1], let c = sizes[2],
        let d = sizes[3]
      else {
        throw SpecError(
          "[spec] expected a pattern of four positive integers such as 4x48x48x64, got '\(part)' "
            + "in '\(text)'; join several with '+', the first one applied first.")
      }
      patterns.append(KroneckerPattern(a, b, c, d))
    }
    return patterns
  }

  /// The number that the text is, if it is a positive integer that a size can be.
  fileprivate static func positive(_ text: some StringProtocol) -> Int? {
    guard !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }), let value = Int(text),
      value > 0, value <= largestSize
    else { return nil }
    return value
  }

  /// The known name, or names, that take the fewest edits to get to.
  private static func nearest(to text: String, _ name: String) -> String {
    let lowered = name.lowercased()
    let distances = names.map { known in
      min(edits(lowered, known), edits(text.lowercased(), known))
    }
    let fewest = distances.min() ?? 0
    return zip(names, distances).filter { $0.1 == fewest }.map { "'\($0.0)'" }
      .joined(separator: " or ")
  }

  /// The Levenshtein distance: insertions, deletions and replacements from one text to the other.
  private static func edits(_ a: String, _ b: String) -> Int {
    let (a, b) = (Array(a.prefix(64)), Array(b))
    var row = Array(0...b.count)
    for (i, x) in a.enumerated() {
      var diagonal = row[0]
      row[0] = i + 1
      for (j, y) in b.enumerated() {
        let replaced = diagonal + (x == y ? 0 : 1)
        diagonal = row[j + 1]
        row[j + 1] = min(replaced, row[j] + 1, row[j + 1] + 1)
      }
    }
    return row[b.count]
  }
}

/// The `key=value` options of a spec, taken one by one; what is left in the end is unknown.
private struct Options {
  private let name: String
  private let text: String
  private var values: [(key: String, value: String)] = []
  private var known: [String] = []

  init(_ list: String?, name: String, text: String) throws(SpecError) {
    (self.name, self.text) = (name, text)
    guard let list else { return }
    for part in list.split(separator: ",", omittingEmptySubsequences: false) {
      let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard pair.count == 2, !pair[0].isEmpty, !pair[1].isEmpty else {
        throw SpecError("[spec] expected an option key=value, got '\(part)' in '\(text)'.")
      }
      guard !values.contains(where: { $0.key == pair[0] }) else {
        throw SpecError("[spec] expected '\(pair[0])' once, got it twice in '\(text)'.")
      }
      values.append((String(pair[0]), String(pair[1])))
    }
  }

  mutating func take(_ key: String) -> String? {
    known.append(key)
    guard let index = values.firstIndex(where: { $0.key == key }) else { return nil }
    return values.remove(at: index).value
  }

  mutating func integer(_ key: String) throws(SpecError) -> Int? {
    guard let value = take(key) else { return nil }
    guard let number = OperatorSpec.positive(value) else {
      throw SpecError(
        "[spec] expected a positive integer of at most \(OperatorSpec.largestSize) for "
          + "'\(key)', got '\(value)' in '\(text)'.")
    }
    return number
  }

  mutating func required(_ key: String) throws(SpecError) -> Int {
    guard let number = try integer(key) else {
      throw SpecError(
        "[spec] expected '\(key)' for \(name), got none in '\(text)'; write \(name):\(key)=4, say.")
    }
    return number
  }

  mutating func factors(_ key: String) throws(SpecError) -> Factors? {
    guard let value = take(key) else { return nil }
    let sizes = value.split(separator: "x", omittingEmptySubsequences: false)
      .map(OperatorSpec.positive)
    guard sizes.count == 2, let first = sizes[0], let second = sizes[1] else {
      throw SpecError(
        "[spec] expected two positive integers such as 16x24 for '\(key)', got '\(value)' in "
          + "'\(text)'.")
    }
    return Factors(first, second)
  }

  mutating func flag(_ key: String) throws(SpecError) -> Bool {
    guard let value = take(key) else { return false }
    guard let flag = Bool(value) else {
      throw SpecError(
        "[spec] expected true or false for '\(key)', got '\(value)' in '\(text)'.")
    }
    return flag
  }

  mutating func rowPolicy(_ key: String) throws(SpecError) -> RowPolicy? {
    guard let value = take(key) else { return nil }
    guard let policy = RowPolicy(rawValue: value) else {
      let policies = RowPolicy.allCases.map(\.rawValue).joined(separator: ", ")
      throw SpecError(
        "[spec] expected one of \(policies) for '\(key)', got '\(value)' in '\(text)'.")
    }
    return policy
  }

  func finish() throws(SpecError) {
    guard let key = values.first?.key else { return }
    let options =
      known.isEmpty
      ? "\(name) has none" : "\(name) has \(known.joined(separator: ", "))"
    throw SpecError("[spec] unknown option '\(key)' in '\(text)'; \(options).")
  }
}
