import ArgumentParser
import Foundation
import Tessera

/// The option of commands that can print a JSON document in place of text.
struct OutputOptions: ParsableArguments {
  @Flag(help: "Print one JSON document, and nothing else, on standard output.")
  var json = false

  /// Prints a document, or the text.
  func print(_ document: some Encodable, text: () -> String) throws {
    guard json else {
      Swift.print(text())
      return
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    Swift.print(String(decoding: try encoder.encode(document), as: UTF8.self))
  }
}

/// Throws, before the work, if a text file cannot be made at a path.
func checkWritable(_ path: String) throws {
  try FileSystem.checkWritable(URL(filePath: path).deletingLastPathComponent())
}

/// Writes a text file that is whole or absent.
func write(_ text: String, to path: String) throws {
  try AtomicFile.write(text, to: URL(filePath: path))
}

extension DType: ExpressibleByArgument {
  /// `f32`, `bf16`, `f16`.
  public init?(argument: String) {
    switch argument {
    case "f32", "float32": self = .float32
    case "bf16", "bfloat16": self = .bfloat16
    case "f16", "float16": self = .float16
    default: return nil
    }
  }
}

extension Device: ExpressibleByArgument {}
