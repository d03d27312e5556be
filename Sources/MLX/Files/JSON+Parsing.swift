/// Why a text is not a JSON document.
package enum JSONError: Error, Hashable, Sendable, CustomStringConvertible {
  case notUTF8(offset: Int)
  case syntax(offset: Int, expected: String)
  case duplicateKey(String)
  case tooDeep(limit: Int)

  package var description: String {
    switch self {
    case .notUTF8(let offset): "byte \(offset) is not UTF-8 text"
    case .syntax(let offset, let expected): "expected \(expected) at byte \(offset)"
    case .duplicateKey(let key): "the key \"\(key)\" occurs twice"
    case .tooDeep(let limit): "more than \(limit) levels of lists and objects"
    }
  }
}

extension JSON {
  /// Reads a document by the letter of RFC 8259: no comments, no trailing commas, no NaN, nothing
  /// after the value but white space.
  package init(parsing bytes: [UInt8]) throws(JSONError) {
    do {
      _ = try UTF8Span(validating: bytes.span)
    } catch {
      throw .notUTF8(offset: error.byteOffsets.lowerBound)
    }
    var parser = JSONParser(bytes: bytes)
    self = try parser.document()
  }

  package init(parsing text: String) throws(JSONError) {
    try self.init(parsing: Array(text.utf8))
  }
}

private struct JSONParser {
  /// Far above any file we read, far below what the stack holds.
  static let depthLimit = 128

  let bytes: [UInt8]
  var position = 0
  var depth = 0

  init(bytes: [UInt8]) {
    self.bytes = bytes
  }

  mutating func document() throws(JSONError) -> JSON {
    let value = try value()
    skipSpace()
    guard position == bytes.count else { throw expected("the end of the text") }
    return value
  }

  private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  private func expected(_ what: String) -> JSONError {
    .syntax(offset: position, expected: what)
  }

  private mutating func skipSpace() {
    while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
      position += 1
    }
  }

  private mutating func take(_ character: Unicode.Scalar) -> Bool {
    guard next == UInt8(ascii: character) else { return false }
    position += 1
    return true
  }

  private mutating func value() throws(JSONError) -> JSON {
    skipSpace()
    switch next {
    case UInt8(ascii: "{"): return .object(try object())
    case UInt8(ascii: "["): return .array(try array())
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    default: return .number(try number())
    }
  }

  private mutating func word(_ word: String, _ value: JSON) throws(JSONError) -> JSON {
    guard bytes[position...].starts(with: word.utf8) else { throw expected("a value") }
    position += word.utf8.count
    return value
  }

  private mutating func descend() throws(JSONError) {
    depth += 1
    guard depth <= JSONParser.depthLimit else { throw .tooDeep(limit: JSONParser.depthLimit) }
    position += 1
  }

  private mutating func object() throws(JSONError) -> JSON.Object {
    try descend()
    var object = JSON.Object()
    skipSpace()
    while !take("}") {
      if !object.keys.isEmpty {
        guard take(",") else { throw expected("a comma or a closing brace") }
        skipSpace()
      }
      guard next == UInt8(ascii: "\"") else { throw expected("a key in quotes") }
      let key = try string()
      skipSpace()
      guard take(":") else { throw expected("a colon") }
      let value = try value()
      guard object[key] == nil else { throw .duplicateKey(key) }
      object[key] = value
      skipSpace()
    }
    depth -= 1
    return object
  }

  private mutating func array() throws(JSONError) -> [JSON] {
    try descend()
    var items: [JSON] = []
    skipSpace()
    while !take("]") {
      guard items.isEmpty || take(",") else { throw expected("a comma or a closing bracket") }
      items.append(try value())
      skipSpace()
    }
    depth -= 1
    return items
  }

  private mutating func number() throws(JSONError) -> String {
    let start = position
    _ = take("-")
    if !take("0") { try digits("a value") }
    if take(".") { try digits("a digit") }
    if take("e") || take("E") {
      if !take("+") { _ = take("-") }
      try digits("a digit")
    }
    return String(decoding: bytes[start..<position], as: UTF8.self)
  }

  private mutating func digits(_ what: String) throws(JSONError) {
    let start = position
    while let byte = next, (0x30...0x39).contains(byte) { position += 1 }
    guard position > start else { throw expected(what) }
  }

  private mutating func string() throws(JSONError) -> String {
    position += 1
    var text = ""
    while true {
      let start = position
      while let byte = next, byte >= 0x20, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") {
        position += 1
      }
      text += String(decoding: bytes[start..<position], as: UTF8.self)
      if take("\"") { return text }
      guard take("\\") else { throw expected("a closing quote") }
      text.unicodeScalars.append(try escape())
    }
  }

  private mutating func escape() throws(JSONError) -> Unicode.Scalar {
    let plain: [UInt8: Unicode.Scalar] = [
      UInt8(ascii: "\""): "\"", UInt8(ascii: "\\"): "\\", UInt8(ascii: "/"): "/",
      UInt8(ascii: "b"): "\u{8}", UInt8(ascii: "f"): "\u{C}", UInt8(ascii: "n"): "\n",
      UInt8(ascii: "r"): "\r", UInt8(ascii: "t"): "\t",
    ]
    if let byte = next, let scalar = plain[byte] {
      position += 1
      return scalar
    }
    let high = try codeUnit()
    guard (0xD800..<0xDC00).contains(high) else {
      guard let scalar = Unicode.Scalar(high) else { throw expected("half of a surrogate pair") }
      return scalar
    }
    guard take("\\") else { throw expected("the other half of a surrogate pair") }
    let low = try codeUnit()
    guard (0xDC00..<0xE000).contains(low),
      let scalar = Unicode.Scalar(0x10000 + (high - 0xD800) << 10 + (low - 0xDC00))
    else { throw expected("the other half of a surrogate pair") }
    return scalar
  }

  private mutating func codeUnit() throws(JSONError) -> UInt32 {
    guard take("u") else { throw expected("an escape sequence") }
    guard position + 4 <= bytes.count,
      bytes[position..<position + 4].allSatisfy({ UInt8.isHexDigit($0) }),
      let unit = UInt32(String(decoding: bytes[position..<position + 4], as: UTF8.self), radix: 16)
    else { throw expected("four hexadecimal digits") }
    position += 4
    return unit
  }
}

extension UInt8 {
  fileprivate static func isHexDigit(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
      UInt8(ascii: "A")...UInt8(ascii: "F"):
      true
    default: false
    }
  }
}
