import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: Tool.hasTokenizers, Tool.missing)) struct DataTests {
  /// A folder with texts enough for both parts.
  private func withTexts<Result>(_ body: (URL) throws -> Result) throws -> Result {
    try withTemporaryFolder { folder in
      let texts = folder.appending(path: "texts")
      try FileManager.default.createDirectory(at: texts, withIntermediateDirectories: true)
      for (index, sentence) in SmallModel.sentences.prefix(24).enumerated() {
        let document = (0..<12).map { "\(sentence) \(String(repeating: "z", count: $0))" }
        try Data(document.joined(separator: ", ").utf8)
          .write(to: texts.appending(path: "\(index).txt"))
      }
      return try body(folder)
    }
  }

  private func arguments(_ folder: URL, _ more: String...) -> [String] {
    [
      "data", "text", folder.file("texts"), "--out", folder.file("set"), "--train-vocabulary",
      "300", "--validation", "0.3",
    ] + more
  }

  @Test func textsBecomeASetThatIsWhole() throws {
    try withTexts { folder in
      let result = try Tool.run(arguments(folder, "--json"))
      #expect(result.status == 0, "\(result)")
      let document = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
      let report = try #require(document as? [String: Any])
      #expect(report["files"] as? Int == 24)
      #expect(try Tool.run(["data", "verify", folder.file("set")]).status == 0)
      // A set is not written over unless that is asked for.
      let second = try Tool.run(arguments(folder))
      #expect(second.status == 1 && second.sentences.count == 1, "\(second)")
      #expect(second.sentences.first?.contains("--force") == true)
      #expect(try Tool.run(arguments(folder, "--force")).status == 0)
      #expect(try folder.names == ["set", "texts"])
    }
  }

  @Test func aChangedSetIsFoundOut() throws {
    try withTexts { folder in
      #expect(try Tool.run(arguments(folder)).status == 0)
      let file = folder.appending(path: "set/train.tokens")
      var bytes = try Data(contentsOf: file)
      bytes[0] ^= 1
      try bytes.write(to: file)
      let result = try Tool.run(["data", "verify", folder.file("set")])
      #expect(result.status == 1 && result.sentences.count == 1)
      #expect(result.errors.contains("checksum"), "\(result)")
    }
  }

  @Test func anInterruptionLeavesNothing() throws {
    try withTexts { folder in
      let result = try Tool.run(arguments(folder), interruptAt: "%")
      #expect(result.status == 130 && !result.wasKilled, "\(result)")
      #expect(try folder.names == ["texts"])
    }
  }

  @Test(arguments: [
    ["data", "text", "x", "--out", "y"],
    ["data", "text", "x", "--out", "y", "--train-vocabulary", "300", "--tokenizer", "t"],
    ["data", "text", "x", "--out", "y", "--train-vocabulary", "3"],
    ["data", "text", "x", "--out", "y", "--train-vocabulary", "300", "--validation", "nan"],
    ["data", "images", "x", "--out", "y", "--from", "sounds"],
    ["data", "images", "x", "--out", "y", "--from", "fonts", "--size", "0"],
    ["bench", "gauss-newton", "--widths", "0"],
  ]) func badUsageIsRefused(arguments: [String]) throws {
    let result = try Tool.run(arguments)
    #expect(result.status == 64 && result.output.isEmpty, "\(result)")
  }

  @Test func whatIsNotThereIsASentence() throws {
    try withTemporaryFolder { folder in
      for arguments in [
        ["data", "verify", folder.file("none")],
        [
          "data", "text", folder.file("none"), "--out", folder.file("set"), "--train-vocabulary",
          "300",
        ],
        ["data", "images", folder.file("none"), "--out", folder.file("set"), "--from", "cifar"],
      ] {
        let result = try Tool.run(arguments)
        #expect(result.status == 1 && result.sentences.count == 1, "\(result)")
        #expect(result.sentences.first?.hasPrefix("Error: [data]") == true, "\(result)")
      }
      #expect(try folder.names.isEmpty)
    }
  }
}
