import Foundation
import MLX
import TestSupport
import Tessera
import Testing

@Suite struct StudyTests {
  private static let studies = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().appending(path: "studies/tiny")

  /// A copy of the tiny studies, with sets of the same shapes.
  private func withStudies(_ body: (URL) throws -> Void) throws {
    try withTemporaryFolder { folder in
      let tiny = folder.appending(path: "tiny")
      try FileManager.default.createDirectory(
        at: folder.appending(path: "data"), withIntermediateDirectories: true)
      try FileManager.default.createDirectory(at: tiny, withIntermediateDirectories: true)
      func save(_ name: String, _ inputs: MLXArray, _ targets: MLXArray) throws {
        try Tessera.save(
          arrays: [
            "inputs": inputs, "targets": targets, "validation_inputs": inputs,
            "validation_targets": targets,
          ], url: folder.appending(path: "data/\(name).safetensors"))
      }
      try save(
        "glyphs", MLXRandom.normal([16, 64, 64, 1], key: MLXRandom.key(0)),
        MLXArray((0..<16).map { Int32($0 * 3) }, [16]))
      let tokens = MLXArray((0..<16 * 16).map { Int32($0 * 31 % 8192) }, [16, 16])
      try save("prose", tokens, tokens)
      for name in try Self.studies.names {
        let text = try String(contentsOf: Self.studies.appending(path: name), encoding: .utf8)
          .replacing("data/glyphs", with: "data/glyphs.safetensors")
          .replacing("data/prose", with: "data/prose.safetensors")
        try Data(text.utf8).write(to: tiny.appending(path: name))
      }
      try body(tiny)
    }
  }

  /// The rows of a study's results.
  private func rows(_ tiny: URL, _ name: String) throws -> [JSON] {
    let file = tiny.appending(path: "../runs/tiny-\(name)/study.json")
    let document = try JSON(parsing: [UInt8](Data(contentsOf: file)))
    #expect(document["machine"]?["processor"] != nil && document["command"] != nil)
    return try #require(document["rows"]?.array)
  }

  @Test(arguments: [
    ("rates", 8), ("scaling-mlp", 10), ("scaling-vit", 5), ("scaling-gpt2", 5), ("t2tvit", 4),
    ("finetuning", 5),
  ])
  func everyStudyRunsInItsTinyForm(_ name: String, _ count: Int) throws {
    try withStudies { tiny in
      if name == "finetuning" {
        #expect(try Tool.run(["train", tiny.file("llama.yaml")]).status == 0)
      }
      let result = try Tool.run(
        ["study", tiny.file("\(name).yaml"), "--jobs", "2"], limit: .seconds(240))
      #expect(result.status == 0, "\(result.errors)")
      #expect(result.output.contains("\(count) of \(count) runs finished"), "\(result.output)")
      let rows = try rows(tiny, name)
      #expect(rows.count == count)
      for row in rows {
        let loss = try #require(row["validationLoss"]?.double)
        #expect(loss.isFinite && row["status"]?.string == "finished")
        #expect((row["multiplyAdds"]?.double ?? 0) > 0 && row["seconds"] != nil)
        if ["t2tvit", "finetuning"].contains(name) { #expect(row["stepSeconds"] != nil) }
      }
      let page = try String(
        contentsOf: tiny.appending(path: "../runs/tiny-\(name)/report.html"), encoding: .utf8)
      #expect(page.contains(name.hasPrefix("scaling") ? "at equal multiply-adds" : "All runs"))
      #expect(page.contains("octaves") == (name == "rates"))
    }
  }

  /// A study of one fast run, one that diverges and one that is slow.
  private func small(_ tiny: URL, slow: Int = 3) throws -> String {
    let study = """
      title: small
      output: small
      recipe:
        model: {type: gpt2, vocab_size: 8192, n_positions: 16, n_embd: 8, n_layer: 1, n_head: 2}
        data: ../data/prose.safetensors
        batch: 2
        compile: false
        steps: 3
        evaluation: {examples: 2}
        checkpoints: {keep: 0}
      axes: {rate: optimizer.rate, steps: steps}
      grids:
        - {rate: [1e-3, 1e30], steps: 3}
        - {rate: 1e-3, steps: \(slow)}
      """
    let url = tiny.appending(path: "small.yaml")
    try Data(study.utf8).write(to: url)
    return url.path
  }

  @Test func aRunThatDivergesIsARowAndNothingIsRepeated() throws {
    try withStudies { tiny in
      let study = try small(tiny, slow: 4)
      let result = try Tool.run(["study", study])
      #expect(result.status == 0, "\(result.errors)")
      #expect(result.output.contains("2 of 3 runs finished, 1 failed"), "\(result.output)")
      let runs = tiny.appending(path: "small/runs")
      let page = try String(contentsOf: tiny.appending(path: "small/report.html"), encoding: .utf8)
      #expect(page.contains("finite loss"))
      func outcomes() throws -> [Data] {
        try runs.names.map { try Data(contentsOf: runs.appending(path: "\($0)/outcome.json")) }
      }
      // A file that only a repeated run would replace.
      for name in try runs.names {
        try Data().write(to: runs.appending(path: "\(name)/output.json"))
      }
      let first = try outcomes()
      #expect(try Tool.run(["study", study]).status == 0)
      #expect(try outcomes() == first)
      for name in try runs.names {
        #expect(try Data(contentsOf: runs.appending(path: "\(name)/output.json")).isEmpty)
      }
      // Another recipe is another run; its place is that of the one before.
      let text = try String(contentsOfFile: study, encoding: .utf8)
      try Data(text.replacing("batch: 2", with: "batch: 4").utf8).write(to: URL(filePath: study))
      #expect(try Tool.run(["study", study]).status == 0)
      #expect(try outcomes() != first)
    }
  }

  @Test func controlCLeavesWholeResultsAndTheStudyGoesOn() throws {
    try withStudies { tiny in
      let study = try small(tiny, slow: 1_000_000)
      let stopped = try Tool.run(["study", study], interruptAt: "study 66%")
      #expect(stopped.status == 130 && stopped.errors.contains("go on with"), "\(stopped.errors)")
      let file = tiny.appending(path: "small/study.json")
      let rows = try JSON(parsing: [UInt8](Data(contentsOf: file)))["rows"]?.array
      #expect(
        rows?.map { $0["status"]?.string } == ["finished", "failed", "waiting"], "\(stopped.errors)"
      )
      let text = try String(contentsOfFile: study, encoding: .utf8)
      try Data(text.replacing("1000000", with: "5").utf8).write(to: URL(filePath: study))
      let result = try Tool.run(["study", study])
      #expect(result.output.contains("2 of 3 runs finished, 1 failed, 0 waiting"))
    }
  }

  @Test func afterItsTimeNoRunBegins() throws {
    try withStudies { tiny in
      let study = try small(tiny)
      let result = try Tool.run(["study", study, "--minutes", "0", "--json"])
      #expect(result.status == 0, "\(result.errors)")
      let rows = try #require(JSON(parsing: Array(result.output.utf8))["rows"]?.array)
      #expect(rows.allSatisfy { $0["status"]?.string == "waiting" })
      // What a run would cost is known without it.
      #expect(rows.allSatisfy { ($0["parameters"]?.integer ?? 0) > 0 })
      let report = try Tool.run([
        "study", "report", tiny.file("small/study.json"), "--out", tiny.file("again"),
      ])
      #expect(report.status == 0, "\(report.errors)")
      #expect(try tiny.appending(path: "again").names.contains("report.html"))
    }
  }

  @Test func problemsAreSentences() throws {
    try withStudies { tiny in
      let study = try small(tiny)
      for (arguments, words) in [
        (["study", tiny.file("none.yaml")], "none.yaml"),
        (["study", study, "--jobs", "0"], "--jobs"),
        (["study", study, "--minutes", "-1"], "--minutes"),
        (["study", "report", study, "--out", tiny.file("x")], "study.json"),
      ] {
        let result = try Tool.run(arguments)
        #expect(result.status != 0 && result.errors.contains(words), "\(result.errors)")
      }
      // Without the checkpoint that it starts from.
      let result = try Tool.run(["study", tiny.file("finetuning.yaml")])
      #expect(result.status == 1 && result.sentences.count == 1, "\(result.errors)")
      #expect(try Tool.run(["study", study, "--check"]).output.contains("2 runs"))
      #expect(!FileManager.default.fileExists(atPath: tiny.file("small")))
    }
  }
}
