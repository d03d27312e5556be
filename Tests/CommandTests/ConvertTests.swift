import Foundation
import MLX
import Models
import TestSupport
import Testing

@Suite(.enabled(if: Tool.hasTokenizers, Tool.missing)) struct ConvertTests {
  private func object(_ result: Tool.Result) throws -> [String: Any] {
    try #require(
      try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
  }

  private func convert(_ folder: URL, _ spec: String, _ more: [String]) -> [String] {
    [
      "convert", folder.file("model"), folder.file("out"), "--to", spec, "--calibrate",
      folder.file("texts.txt"), "--examples", "60", "--held-out", "30",
    ] + more
  }

  @Test func aConvertedModelCanBeUsed() throws {
    try withModel { folder in
      let (model, out, texts) = (folder.file("model"), folder.file("out"), folder.file("texts.txt"))
      let page = folder.appending(path: "report.html")
      let converted = try Tool.run(
        convert(
          folder, "lowrank", ["--ratio", "1.5", "--distill", "4", "--report", page.path, "--json"]))
      #expect(converted.status == 0 && converted.sentences.isEmpty, "\(converted.errors)")
      let report = try object(converted)
      #expect((report["layers"] as? [Any])?.count == 12)
      #expect(
        (report["stages"] as? [[String: Any]])?.map { $0["name"] as? String }
          == ["fit", "distil layers", "distil end to end"])
      for stage in ["fit", "distil layers", "distil end to end"] {
        #expect(converted.errors.contains("\(stage) 100%"))
      }
      let html = try String(contentsOf: page, encoding: .utf8)
      #expect(html.contains("encoder.layer.1.output.dense") && html.contains("</html>"))
      #expect(try folder.names == ["model", "out", "report.html", "texts.txt"])
      #expect(
        try folder.appending(path: "out").names
          == ["config.json", "model.safetensors", "tokenizer.json"])

      let inspected = try object(try Tool.run(["inspect", out, "--json"]))
      let layers = try #require(inspected["layers"] as? [[String: Any]])
      let specs = layers.compactMap { $0["spec"] as? String }
      #expect(specs.count { $0.hasPrefix("lowrank:rank=") } == 12)
      #expect(specs.count { $0 == "dense" } == 1)

      let evaluated = try Tool.run(
        ["evaluate", out, "--against", model, "--data", texts, "--json"])
      let fidelity = try #require(try object(evaluated)["fidelity"] as? [String: Any])
      let cosine = try #require(fidelity["cosine"] as? Double)
      #expect(cosine > 0.5 && cosine < 1 && fidelity["texts"] as? Int == 120)

      let lines = try Tool.run(["embed", out, "--data", texts])
      let file = folder.appending(path: "e.safetensors")
      #expect(try Tool.run(["embed", out, "--data", texts, "--output", file.path]).status == 0)
      let saved = try #require(try loadArrays(url: file)["embeddings"])
      #expect(saved.shape == [120, 39])
      let rows = try lines.output.split(separator: "\n").map {
        try JSONDecoder().decode([Float].self, from: Data($0.utf8))
      }
      #expect(try rows.flatMap(\.self) == saved.asArray(Float.self))

      let dense = folder.file("dense")
      let densified = try Tool.run(["densify", out, dense])
      #expect(densified.status == 0 && densified.output.contains("12 layers made dense"))
      let plain = try Tool.run(["evaluate", dense, "--against", out, "--data", texts, "--json"])
      let same = try #require(try object(plain)["fidelity"] as? [String: Any])
      #expect(try #require(same["worstCosine"] as? Double) > 1 - 1e-5)
    }
  }

  @Test func tilesAreWrittenAndForceReplaces() throws {
    try withModel { folder in
      let out = folder.appending(path: "out")
      try FileManager.default.createDirectory(at: out, withIntermediateDirectories: false)
      try Data("old".utf8).write(to: out.appending(path: "old"))
      let converted = try Tool.run(
        convert(folder, "stl:rank=24", ["--layers", "*.output.dense", "--force"]))
      #expect(converted.status == 0, "\(converted.errors)")
      #expect(converted.output.contains("stl:rank=24 for *.output.dense"))
      #expect(converted.output.contains("written: "))
      #expect(try out.names == ["config.json", "model.safetensors", "tokenizer.json"])
      let refused = try Tool.run(["densify", out.path, folder.file("dense")])
      #expect(refused.status == 1 && refused.sentences.count == 1)
      #expect(refused.errors.contains("--approximate"))
      #expect(try folder.names == ["model", "out", "texts.txt"])
      let dense = try Tool.run(["densify", out.path, folder.file("dense"), "--approximate"])
      #expect(dense.status == 0, "\(dense.errors)")
    }
  }

  @Test func scoresAreCorrelated() throws {
    try withModel { folder in
      let pairs = SmallModel.sentences.prefix(8).enumerated().map { index, text in
        "\(index)\t\(text)\t\(SmallModel.sentences[index * 7])"
      }
      let data = folder.appending(path: "pairs.tsv")
      try Data(pairs.joined(separator: "\n").utf8).write(to: data)
      let scored = try object(
        try Tool.run(["evaluate", folder.file("model"), "--data", data.path, "--json"]))
      let measures = try #require(scored["fidelity"] as? [String: Any])
      #expect(measures["texts"] as? Int == 16 && measures["cosine"] == nil)
      #expect(try abs(#require(measures["scoreCorrelation"] as? Double)) <= 1)
      let plain = try Tool.run(
        ["evaluate", folder.file("model"), "--data", folder.file("texts.txt")])
      #expect(plain.status == 1 && plain.sentences.count == 1)
      #expect(plain.errors.contains("--against"))
    }
  }

  @Test func severalStructuresAreCompared() throws {
    try withModel { folder in
      let result = try Tool.run([
        "sweep", folder.file("model"), "--to", "lowrank", "--to", "2:4", "--ratio", "2",
        "--calibrate", folder.file("texts.txt"), "--examples", "40", "--held-out", "20",
      ])
      #expect(result.status == 0, "\(result.errors)")
      let lines = result.output.split(separator: "\n")
      #expect(lines.count == 3 && lines[1].hasPrefix("lowrank at 1/2.0"))
      #expect(lines[2].hasPrefix("2:4 "))
      #expect(try folder.names == ["model", "texts.txt"])
    }
  }

  @Test func aBudgetIsSharedOut() throws {
    try withModel { folder in
      let result = try Tool.run(
        convert(folder, "lowrank,2:4", ["--budget", "1.5", "--json"]))
      #expect(result.status == 0 && result.errors.contains("plan 100%"), "\(result.errors)")
      let report = try object(result)
      #expect(report["rules"] as? [String] == ["lowrank,2:4 within 1/1.5"])
      let layers = try #require(report["layers"] as? [[String: Any]])
      let costs = layers.compactMap { $0["multiplyAdds"] as? Double }
      let dense = 2.0 * (4 * 39 * 39 + 2 * 39 * 51)
      #expect(layers.count == 12 && costs.count == 12)
      #expect(costs.reduce(0, +) <= dense / 1.5)
      // What is dense stays an ordinary layer of the checkpoint.
      let written = try object(try Tool.run(["inspect", folder.file("out"), "--json"]))
      let specs = try #require(written["layers"] as? [[String: Any]])
        .compactMap { $0["spec"] as? String }
      #expect(
        specs.sorted()
          == (layers.compactMap { $0["spec"] as? String } + ["dense"]).sorted())
    }
  }

  // MARK: - Interruption

  /// The distillation would take hours.
  @Test(arguments: [("fit", SIGINT), ("distil layers", SIGINT), ("distil layers", SIGTERM)])
  func anInterruptedConversionLeavesNothing(_ stage: String, _ signal: Int32) throws {
    try withModel { folder in
      let result = try Tool.run(
        convert(folder, "lowrank:rank=4", ["--distill", "400000"]), interruptAt: "\(stage) ",
        signal: signal, limit: .seconds(40))
      #expect(result.status == 128 + signal && !result.wasKilled, "\(result)")
      #expect(result.sentences == ["Error: interrupted; nothing was written."])
      #expect(result.output.isEmpty)
      #expect(try folder.names == ["model", "texts.txt"])
    }
  }
}
