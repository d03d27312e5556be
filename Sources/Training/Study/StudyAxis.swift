import MLX

/// One axis of a study: the keys of the recipe that its values change.
struct StudyAxis {
  /// What the values are.
  enum Kind {
    /// The value itself goes to these keys.
    case keys([String])
    /// A value is a label for changes of several keys.
    case labels(JSON.Object)
  }

  let name: String
  let kind: Kind

  /// Reads `key`, `[key, key]` or `{label: {key: value}}`; notes what else there is.
  init?(_ name: String, _ value: JSON, _ section: RecipeSection) {
    self.name = name
    switch value {
    case .string(let key): kind = .keys([key])
    case .array(let items) where !items.isEmpty && items.allSatisfy({ $0.string != nil }):
      kind = .keys(items.compactMap(\.string))
    case .object(let labels)
    where !labels.keys.isEmpty && labels.members.allSatisfy({ $0.value.object != nil }):
      kind = .labels(labels)
    default:
      section.note(
        name, expected: "a key of the recipe, a list of keys, or a mapping of labels to changes",
        got: value.kind)
      return nil
    }
  }

  /// A value's label.
  static func label(_ value: JSON) -> String? {
    switch value {
    case .string(let text): text
    case .number(let text): text
    case .bool(let truth): "\(truth)"
    default: nil
    }
  }

  /// The changes that a value stands for; `nil` where it is no value of this axis.
  func changes(_ value: JSON) -> [(key: String, value: JSON)]? {
    guard let label = StudyAxis.label(value) else { return nil }
    switch kind {
    case .keys(let keys): return keys.map { ($0, value) }
    case .labels(let labels): return labels[label]?.object?.members
    }
  }

  /// What its values can be, for a sentence.
  var expectation: String {
    switch kind {
    case .keys: "numbers, texts or truth values"
    case .labels(let labels): "labels out of \(labels.keys.joined(separator: ", "))"
    }
  }

  /// The place of a run that has no value on this axis: what the recipe says anyhow.
  func label(in recipe: JSON) -> String {
    guard case .keys(let keys) = kind, let key = keys.first,
      let value = recipe.value(at: key.split(separator: ".")), let label = StudyAxis.label(value)
    else { return "-" }
    return label
  }
}

extension JSON {
  /// The value under a path of keys and places in lists.
  func value(at path: [Substring]) -> JSON? {
    guard let first = path.first else { return self }
    switch self {
    case .object(let object): return object[String(first)]?.value(at: Array(path.dropFirst()))
    case .array(let items):
      guard let index = Int(first), items.indices.contains(index) else { return nil }
      return items[index].value(at: Array(path.dropFirst()))
    default: return nil
    }
  }

  /// The document with another value under a path, whose mappings are made where there are none;
  /// `nil` where it leads through anything but mappings and lists that are long enough.
  func setting(_ value: JSON, at path: [Substring]) -> JSON? {
    guard let first = path.first else { return value }
    let rest = Array(path.dropFirst())
    switch self {
    case .object(var object):
      guard let member = (object[String(first)] ?? .object([:])).setting(value, at: rest) else {
        return nil
      }
      object[String(first)] = member
      return .object(object)
    case .array(var items):
      guard let index = Int(first), items.indices.contains(index),
        let item = items[index].setting(value, at: rest)
      else { return nil }
      items[index] = item
      return .array(items)
    default: return nil
    }
  }
}
