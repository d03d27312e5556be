import Foundation
import MLX
import Yams

/// A YAML text as the JSON document that it stands for.
enum YAMLDocument {
  /// The text of a file, and the folder that its paths are relative to.
  ///
  /// Throws a sentence where it cannot be read.
  static func text(of url: URL, operation: String) throws -> (text: String, folder: URL) {
    guard let text = try? String(contentsOf: url, encoding: .utf8) else {
      throw RecipeError(problems: [
        "[\(operation)] expected a readable YAML file, got \(url.path(percentEncoded: false))."
      ])
    }
    return (text, url.absoluteURL.standardizedFileURL.deletingLastPathComponent())
  }

  /// Reads a text.
  ///
  /// Plain scalars are numbers, truth values or null where they look like it (`1e-3` too, which YAML
  /// 1.1 takes for a text); quoted ones are texts. Throws a sentence where the text is no YAML.
  static func parse(_ text: String, operation: String = "recipe") throws -> JSON {
    do {
      guard let node = try compose(yaml: text) else { return .null }
      return try document(node, operation)
    } catch let error as RecipeError {
      throw error
    } catch {
      let reason = "\(error)".split(separator: "\n").joined(separator: " ")
      throw RecipeError(problems: [
        "[\(operation)] expected YAML, got a text that is none: \(reason)"
      ])
    }
  }

  private static func document(_ node: Node, _ operation: String) throws -> JSON {
    switch node {
    case .scalar(let scalar): return value(scalar)
    case .sequence(let items): return .array(try items.map { try document($0, operation) })
    case .mapping(let members):
      var object = JSON.Object()
      for (key, value) in members {
        guard let name = key.string else {
          throw RecipeError(problems: ["[\(operation)] expected keys that are texts, got \(key)."])
        }
        object[name] = try document(value, operation)
      }
      return .object(object)
    case .alias(let alias):
      throw RecipeError(
        problems: ["[\(operation)] expected values written out, got the alias \(alias.anchor)."])
    }
  }

  private static func value(_ scalar: Node.Scalar) -> JSON {
    let text = scalar.string
    guard scalar.style == .plain || scalar.style == .any else { return .string(text) }
    switch text {
    case "", "~", "null": return .null
    case "true": return .bool(true)
    case "false": return .bool(false)
    default: break
    }
    let looksLikeNumber = text.first.map { "+-.0123456789".contains($0) } ?? false
    if looksLikeNumber, let whole = Int(text) { return .integer(whole) }
    if looksLikeNumber, let number = Double(text), number.isFinite { return .double(number) }
    return .string(text)
  }
}
