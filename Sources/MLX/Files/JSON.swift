/// A JSON document that keeps what a rewrite must not change: the order of the keys and the text of
/// the numbers.
///
/// Files that others wrote (a model's `config.json`) go through it and come out with one key more
/// and nothing else different; a decoder that goes by way of `Double` would turn 1e-12 into another
/// number's text. Repeated keys are refused, since readers disagree on which one counts.
package enum JSON: Hashable, Sendable {
  case null
  case bool(Bool)
  /// The number as it is written.
  case number(String)
  case string(String)
  case array([JSON])
  case object(Object)

  /// Keys with their values, in the order of the file.
  package struct Object: Hashable, Sendable {
    /// The keys in their order, each once.
    package private(set) var keys: [String] = []
    private var values: [String: JSON] = [:]

    package init() {}

    package init(_ members: KeyValuePairs<String, JSON>) {
      for (key, value) in members { self[key] = value }
    }

    /// The value of a key; a new key goes last.
    package subscript(key: String) -> JSON? {
      get { values[key] }
      set {
        if newValue == nil, values[key] != nil { keys.removeAll { $0 == key } }
        if newValue != nil, values[key] == nil { keys.append(key) }
        values[key] = newValue
      }
    }

    package var members: [(key: String, value: JSON)] {
      keys.compactMap { key in values[key].map { (key, $0) } }
    }
  }

  package static func integer(_ value: Int) -> JSON { .number(String(value)) }

  /// A number; JSON has no name for NaN and the infinities, which become `null`.
  package static func double(_ value: Double) -> JSON {
    value.isFinite ? .number("\(value)") : .null
  }

  package static func object(_ members: KeyValuePairs<String, JSON>) -> JSON {
    .object(Object(members))
  }

  /// The value of a key of an object.
  package subscript(key: String) -> JSON? {
    if case .object(let object) = self { object[key] } else { nil }
  }

  package var string: String? { if case .string(let text) = self { text } else { nil } }
  package var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  package var array: [JSON]? { if case .array(let items) = self { items } else { nil } }
  package var object: Object? { if case .object(let object) = self { object } else { nil } }

  /// The value of a number without fraction or exponent that fits into 64 bits.
  package var integer: Int? { if case .number(let text) = self { Int(text) } else { nil } }

  /// The value of a number.
  package var double: Double? { if case .number(let text) = self { Double(text) } else { nil } }

  /// What the value is, for a sentence.
  package var kind: String {
    switch self {
    case .null: "null"
    case .bool(let value): "\(value)"
    case .number(let text): text
    case .string(let text): text.count > 60 ? "\"\(text.prefix(60))…\"" : "\"\(text)\""
    case .array(let items): "a list of \(items.count)"
    case .object: "an object"
    }
  }
}

// MARK: - Writing

extension JSON {
  /// The document as text; `indent` puts every member and item on its own line.
  package func encoded(indent: Int? = nil) -> String {
    var text = ""
    write(to: &text, indent: indent, margin: 0)
    return text
  }

  private func write(to text: inout String, indent: Int?, margin: Int) {
    switch self {
    case .null: text += "null"
    case .bool(let value): text += value ? "true" : "false"
    case .number(let number): text += number
    case .string(let string): JSON.writeQuoted(string, to: &text)
    case .array(let items):
      JSON.writeList(items, "[", "]", to: &text, indent: indent, margin: margin) {
        $1.write(to: &$0, indent: indent, margin: margin + (indent ?? 0))
      }
    case .object(let object):
      JSON.writeList(object.members, "{", "}", to: &text, indent: indent, margin: margin) {
        JSON.writeQuoted($1.key, to: &$0)
        $0 += indent == nil ? ":" : ": "
        $1.value.write(to: &$0, indent: indent, margin: margin + (indent ?? 0))
      }
    }
  }

  private static func writeList<Item>(
    _ items: [Item], _ open: String, _ close: String, to text: inout String, indent: Int?,
    margin: Int, _ body: (inout String, Item) -> Void
  ) {
    func breakLine(_ margin: Int) {
      if indent != nil { text += "\n" + String(repeating: " ", count: margin) }
    }
    text += open
    for (index, item) in items.enumerated() {
      if index > 0 { text += "," }
      breakLine(margin + (indent ?? 0))
      body(&text, item)
    }
    if !items.isEmpty { breakLine(margin) }
    text += close
  }

  private static func writeQuoted(_ string: String, to text: inout String) {
    text += "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": text += "\\\""
      case "\\": text += "\\\\"
      case "\n": text += "\\n"
      case "\r": text += "\\r"
      case "\t": text += "\\t"
      case "\0"..<" ":
        let digits = String(scalar.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: text.unicodeScalars.append(scalar)
      }
    }
    text += "\""
  }
}
