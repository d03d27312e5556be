import Foundation
import TestSupport
import Testing

/// `scripts/gpu/record_factors`, with a command that only says that it was called.
@Suite struct RecordTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  private func record(_ arguments: [String]) throws -> (status: Int32, text: String) {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["python3", Self.root.path + "/scripts/gpu/record_factors"] + arguments
    let words = Pipe()
    process.standardError = words
    try process.run()
    let text = String(decoding: words.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return (process.terminationStatus, text)
  }

  @Test func aRecordGoesOnWhereItWas() throws {
    try withTemporaryFolder { folder in
      let (command, calls) = (folder.appending(path: "command"), folder.appending(path: "calls"))
      // The first butterfly breaks, once.
      let script = """
        #!/bin/sh
        echo "$*" >> '\(calls.path)'
        case "$*" in *2048x2x2x1*) mkdir '\(folder.path)/broken' && { echo it broke >&2; exit 1; } ;; esac
        echo '{}'
        """
      try script.write(to: command, atomically: true, encoding: .utf8)
      try FileManager.default.setAttributes(
        [.posixPermissions: 0o755], ofItemAtPath: command.path)
      let patterns = Self.root.path + "/benchmarks/factor-patterns.txt"
      let file = folder.appending(path: "record.json")
      let arguments = [command.path, patterns, file.path]

      let none = try record(arguments + ["0"])
      #expect(none.status == 0 && none.text.contains("0 of 49 measurements"))
      let most = try record(arguments)
      #expect(most.status == 0 && most.text.contains("it broke"))
      #expect(most.text.contains("48 of 49 measurements"))
      let rest = try record(arguments)
      #expect(rest.status == 0 && rest.text.contains("49 of 49 measurements"))

      let lines = try String(contentsOf: calls, encoding: .utf8).split(separator: "\n")
      #expect(lines.count == 50, "only what broke is measured again")
      let found = try JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any]
      let results = ["factors", "layers"].flatMap { found?[$0] as? [[String: Any]] ?? [] }
      #expect(results.count == 49 && results.allSatisfy { $0["whole"] as? Bool == true })
    }
  }

  @Test(arguments: [#"{"factors": [{}], "layers": []}"#, #"{"factors": [{"#, "[]", ""])
  func aRecordOfAnotherKindIsRefusedAndKept(_ text: String) throws {
    try withTemporaryFolder { folder in
      let file = folder.appending(path: "record.json")
      try text.write(to: file, atomically: true, encoding: .utf8)
      let result = try record(["false", "/dev/null", file.path])
      #expect(result.status == 1 && result.text.contains("give another name"))
      #expect(try String(contentsOf: file, encoding: .utf8) == text)
    }
  }

  @Test(arguments: [
    (["no-such-command", "/dev/null"], "name one"), (["false", "/nowhere"], "name one"),
  ])
  func whatIsNotThereIsSaid(_ arguments: [String], word: String) throws {
    try withTemporaryFolder { folder in
      let file = folder.appending(path: "record.json")
      let result = try record(arguments + [file.path])
      #expect(result.status == 1 && result.text.contains(word))
      #expect(!result.text.contains("Traceback"))
      #expect(!FileManager.default.fileExists(atPath: file.path))
    }
  }
}
