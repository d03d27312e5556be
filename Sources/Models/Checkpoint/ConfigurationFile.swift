import FoundationEssentials
import MLX

/// A JSON file of a checkpoint, read key by key: each key that is missing, ill-typed or out of range
/// throws a sentence that names the file and the key.
package struct ConfigurationFile: Sendable {
  /// The path of the file.
  package let path: String
  /// Its content.
  package let object: JSON.Object

  package init(path: String, object: JSON.Object) {
    self.path = path
    self.object = object
  }

  package init(url: URL) throws {
    path = url.path(percentEncoded: false)
    let data: Data
    do {
      data = try Data(contentsOf: url)
    } catch {
      throw CheckpointError.missingFile(
        folder: url.deletingLastPathComponent().path(percentEncoded: false),
        file: url.lastPathComponent)
    }
    let document: JSON
    do throws(JSONError) {
      document = try JSON(parsing: [UInt8](data))
    } catch {
      throw CheckpointError.notJSON(file: path, reason: error.description)
    }
    guard let object = document.object else {
      throw CheckpointError.notJSON(file: path, reason: "it holds \(document.kind)")
    }
    self.object = object
  }

  /// A whole number in a range; the default stands in for a missing key or null.
  package func integer(
    _ key: String, in range: ClosedRange<Int> = 1...(1 << 24), default: Int? = nil
  ) throws -> Int {
    guard let value = try value(key, hasDefault: `default` != nil) else {
      return `default` ?? range.lowerBound
    }
    guard let number = value.integer, range.contains(number) else {
      throw illTyped(
        key, "a whole number from \(range.lowerBound) to \(range.upperBound)", value)
    }
    return number
  }

  /// A positive number; the default stands in for a missing key or null.
  package func positiveNumber(_ key: String, default: Double? = nil) throws -> Double {
    guard let value = try value(key, hasDefault: `default` != nil) else { return `default` ?? 0 }
    guard let number = value.double, number > 0, number.isFinite else {
      throw illTyped(key, "a positive number", value)
    }
    return number
  }

  /// A string; the default stands in for a missing key or null.
  package func string(_ key: String, default: String? = nil) throws -> String {
    guard let value = try value(key, hasDefault: `default` != nil) else { return `default` ?? "" }
    guard let text = value.string else { throw illTyped(key, "a string", value) }
    return text
  }

  /// A truth value; the default stands in for a missing key or null.
  package func bool(_ key: String, default: Bool? = nil) throws -> Bool {
    guard let value = try value(key, hasDefault: `default` != nil) else {
      return `default` ?? false
    }
    guard let truth = value.bool else { throw illTyped(key, "true or false", value) }
    return truth
  }

  /// A token or several; none where the key is missing or null.
  package func tokens(_ key: String) throws -> Set<Int32> {
    guard let value = try value(key, hasDefault: true) else { return [] }
    return Set(
      try (value.array ?? [value]).map { item in
        guard let token = item.integer.flatMap({ Int32(exactly: $0) }) else {
          throw illTyped(key, "a token or a list of them", value)
        }
        return token
      })
  }

  /// The object under a key as a file of its own; `nil` where the key is missing or null.
  package func section(_ key: String) throws -> ConfigurationFile? {
    guard let value = try value(key, hasDefault: true) else { return nil }
    guard let object = value.object else { throw illTyped(key, "an object", value) }
    return ConfigurationFile(path: path, object: object)
  }

  /// A string out of a list.
  package func choice<Choice: RawRepresentable & CaseIterable>(
    _ key: String, default: Choice? = nil
  ) throws -> Choice where Choice.RawValue == String {
    let text = try string(key, default: `default`?.rawValue)
    guard let choice = Choice(rawValue: text) else {
      throw CheckpointError.unsupported(
        file: path, key: key,
        expected: Choice.allCases.map(\.rawValue).joined(separator: ", "), got: "\"\(text)\"")
    }
    return choice
  }

  /// Throws if a key has another value than the only one that is supported.
  package func requireFalse(_ key: String) throws {
    guard try bool(key, default: false) else { return }
    throw CheckpointError.unsupported(file: path, key: key, expected: "false", got: "true")
  }

  /// Throws if a key that is there has another value than the only one that is supported.
  package func requireTrue(_ key: String) throws {
    guard try !bool(key, default: true) else { return }
    throw CheckpointError.unsupported(file: path, key: key, expected: "true", got: "false")
  }

  /// Throws if a size does not divide another.
  package func requireDivisor(
    _ key: String, _ value: Int, of otherKey: String, _ other: Int
  ) throws {
    guard other % value != 0 else { return }
    throw CheckpointError.illTyped(
      file: path, key: key, expected: "a divisor of \(otherKey) \(other)", got: "\(value)")
  }

  package func illTyped(_ key: String, _ expected: String, _ got: JSON) -> CheckpointError {
    .illTyped(file: path, key: key, expected: expected, got: got.kind)
  }

  private func value(_ key: String, hasDefault: Bool) throws -> JSON? {
    switch object[key] {
    case .null?, nil:
      guard hasDefault else { throw CheckpointError.missingKey(file: path, key: key) }
      return nil
    case let value?: return value
    }
  }
}

/// Tokens as ``ConfigurationFile/tokens(_:)`` reads them.
func tokenList(_ tokens: Set<Int32>) -> JSON {
  let numbers = tokens.sorted().map { JSON.integer(Int($0)) }
  return numbers.count > 1 ? .array(numbers) : numbers.first ?? .null
}
