import MLX

/// A mapping of a recipe or a study, read key by key.
///
/// What is wrong is noted, and a value that is of the right kind is returned in its place, so that a
/// reader sees all there is to say at once.
final class RecipeSection {
  /// The sentences noted by all sections of a file.
  final class Notes {
    /// What sentences begin with.
    let operation: String
    var problems: [String] = []

    init(operation: String = "recipe") {
      self.operation = "[\(operation)]"
    }
  }

  let notes: Notes
  /// What precedes a key in messages: nothing, or `optimizer.`.
  private let prefix: String
  private let object: JSON.Object
  private var known: [String] = []

  init(_ object: JSON.Object, prefix: String = "", notes: Notes) {
    self.object = object
    self.prefix = prefix
    self.notes = notes
  }

  /// The keys with their values.
  var entries: [(key: String, value: JSON)] { object.members }

  /// Whether the key is there with a value.
  func has(_ key: String) -> Bool { object[key].map { $0 != .null } ?? false }

  /// The value of a key, or a note that there is none.
  func value(_ key: String, isNeeded: Bool = false) -> JSON? {
    if !known.contains(key) { known.append(key) }
    switch object[key] {
    case .null?, nil:
      if isNeeded {
        notes.problems.append("\(notes.operation) expected a key `\(prefix)\(key)`, got none.")
      }
      return nil
    case let value?: return value
    }
  }

  /// Notes what was expected of a key and what came.
  func note(_ key: String, expected: String, got: String, advice: String? = nil) {
    notes.problems.append(
      "\(notes.operation) expected \(expected) as `\(prefix)\(key)`, got \(got)"
        + (advice.map { "; \($0)." } ?? "."))
  }

  /// A whole number in a range.
  func integer(
    _ key: String, in range: ClosedRange<Int> = 1...Int(Int32.max), default: Int? = nil
  ) -> Int {
    let fallback = `default` ?? range.lowerBound
    guard let value = value(key, isNeeded: `default` == nil) else { return fallback }
    guard let number = value.integer, range.contains(number) else {
      note(
        key, expected: "a whole number from \(range.lowerBound) to \(range.upperBound)",
        got: value.kind)
      return fallback
    }
    return number
  }

  /// A number in a range, whose ends belong to it if `closed`.
  func number(
    _ key: String, from low: Double, to high: Double = .infinity, closed: Bool = true,
    default: Double? = nil
  ) -> Double {
    let fallback = `default` ?? low
    guard let value = value(key, isNeeded: `default` == nil) else { return fallback }
    guard let number = value.double, number.isFinite,
      closed ? number >= low && number <= high : number > low && number < high
    else {
      let bounds =
        high == .infinity
        ? (closed ? "of \(low) or more" : "above \(low)")
        : (closed ? "from \(low) to \(high)" : "between \(low) and \(high)")
      note(key, expected: "a number \(bounds)", got: value.kind)
      return fallback
    }
    return number
  }

  /// A number between two others; `nil` where there is none.
  func numberIfAny(_ key: String, above low: Double, below high: Double = .infinity) -> Double? {
    guard value(key) != nil else { return nil }
    return number(key, from: low, to: high, closed: false, default: low)
  }

  /// A text.
  func string(_ key: String, default: String? = nil) -> String {
    guard let value = value(key, isNeeded: `default` == nil) else { return `default` ?? "" }
    guard let text = value.string, !text.isEmpty else {
      note(key, expected: "a text", got: value.kind)
      return `default` ?? ""
    }
    return text
  }

  /// A truth value.
  func bool(_ key: String, default: Bool) -> Bool {
    guard let value = value(key) else { return `default` }
    guard let truth = value.bool else {
      note(key, expected: "true or false", got: value.kind)
      return `default`
    }
    return truth
  }

  /// One of the cases of a type, by name.
  func choice<Choice: RawRepresentable & CaseIterable>(
    _ key: String, default: Choice
  ) -> Choice where Choice.RawValue == String {
    guard let value = value(key) else { return `default` }
    guard let text = value.string, let choice = Choice(rawValue: text) else {
      note(
        key, expected: Choice.allCases.map(\.rawValue).joined(separator: " or "), got: value.kind)
      return `default`
    }
    return choice
  }

  /// The section under a key; `nil` where there is none.
  func section(_ key: String, isNeeded: Bool = false) -> RecipeSection? {
    guard let value = value(key, isNeeded: isNeeded) else { return nil }
    guard let object = value.object else {
      note(key, expected: "a mapping of keys to values", got: value.kind)
      return nil
    }
    return RecipeSection(object, prefix: "\(prefix)\(key).", notes: notes)
  }

  /// The sections of the list under a key; none where there is none.
  func sections(_ key: String) -> [RecipeSection] {
    guard let value = value(key) else { return [] }
    guard let items = value.array else {
      note(key, expected: "a list", got: value.kind)
      return []
    }
    return items.enumerated().compactMap { index, item in
      guard let object = item.object else {
        note("\(key)[\(index)]", expected: "a mapping of keys to values", got: item.kind)
        return nil
      }
      return RecipeSection(object, prefix: "\(prefix)\(key)[\(index)].", notes: notes)
    }
  }

  /// Notes every key that nothing asked for.
  func finish() {
    for key in object.keys where !known.contains(key) {
      notes.problems.append(
        "\(notes.operation) expected one of \(known.joined(separator: ", ")), got the key "
          + "`\(prefix)\(key)`.")
    }
  }
}
