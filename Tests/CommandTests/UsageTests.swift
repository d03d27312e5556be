import Foundation
import TestSupport
import Testing

@Suite struct UsageTests {
  @Test func doctorSaysWhatThereIs() throws {
    let result = try Tool.run(["doctor"])
    #expect(result.status == 0 && result.errors.isEmpty)
    for word in ["processor", "engine", "MLX", "BLAS", "openblas", "Python"] {
      #expect(result.output.contains(word), "\(word)")
    }
    // The command has begun itself anew where OpenBLAS did not know the processor.
    #expect(!result.output.contains("kernels for wider vectors"))
    let document = try Tool.run(["doctor", "--json"])
    let object = try JSONSerialization.jsonObject(with: Data(document.output.utf8))
    let items = try #require((object as? [String: Any])?["items"] as? [[String: Any]])
    #expect(items.count == 12 && items.allSatisfy { $0["name"] is String && $0["found"] is String })
  }

  @Test func doctorChecksTheCasesAskedFor() throws {
    let result = try Tool.run(["doctor", "--check", "--only", "stl:rank=7,", "--json"])
    #expect(result.status == 0 && result.errors.isEmpty)
    let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
    let cpu = try #require((object as? [String: Any])?["cpu"] as? [String: Any])
    let items = try #require(cpu["items"] as? [[String: Any]])
    #expect(!items.isEmpty)
    #expect(items.allSatisfy { ($0["name"] as? String)?.contains("stl:rank=7,") ?? false })
    let none = try Tool.run(["doctor", "--check", "--only", "no such case"])
    #expect(none.status == 1 && none.errors.contains("got none on this machine"))
    let alone = try Tool.run(["doctor", "--only", "stl"])
    #expect(alone.status == 64 && alone.errors.contains("expected --check with --only"))
  }

  @Test func inspectPrintsOneDocumentAndNothingElse() throws {
    let result = try Tool.run(["inspect", SmallModel.folder.path, "--json"])
    #expect(result.status == 0 && result.errors.isEmpty)
    let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
    let layers = try #require((object as? [String: Any])?["layers"] as? [[String: Any]])
    #expect(layers.count == 13)
    #expect(layers[0]["path"] as? String == "encoder.layer.0.attention.self.query")
    #expect(layers[0]["inputs"] as? Int == 39 && layers[0]["multiplyAdds"] as? Double == 1521)
    let text = try Tool.run(["inspect", SmallModel.folder.path])
    #expect(text.output.contains("13 linear layers hold"))
  }

  @Test func encodersAreListedAndProved() throws {
    let list = try Tool.run(["encoders", "list", "--json"])
    #expect(list.status == 0 && list.errors.isEmpty)
    let object = try JSONSerialization.jsonObject(with: Data(list.output.utf8)) as? [String: Any]
    #expect(object?["inputs"] as? Int == 4096 && object?["outputs"] as? Int == 4096)
    let rows = try #require(object?["encoders"] as? [[String: Any]])
    for row in rows {
      let keys = [
        "error", "largestCoefficient", "noiseGain", "nonZeros", "productRatio", "costRatio",
      ]
      #expect(keys.allSatisfy { row[$0] is Double }, "\(row)")
      // Rounding to bfloat16 is told of the exact ones, seven of them.
      #expect((row["bfloat16Error"] is Double) == ((row["error"] as? Double ?? 1) < 1e-10))
    }
    #expect(rows.count { $0["bfloat16Error"] is Double } == 7)
    let text = try Tool.run(["encoders", "list", "--shape", "384x1536"])
    #expect(text.output.contains("384 inputs and 1536 outputs"))
    let proofs = try Tool.run(["encoders", "verify"])
    #expect(proofs.status == 0)
    #expect(proofs.output.split(separator: "\n").allSatisfy { $0.hasPrefix("proved: ") })
    let document = try Tool.run(["encoders", "verify", "--json"])
    let proved = try JSONSerialization.jsonObject(with: Data(document.output.utf8))
    #expect(((proved as? [String: Any])?["proofs"] as? [[String: Any]])?.count == 7)
  }

  @Test func groupsAreListedWithTheirRealRank() throws {
    let result = try Tool.run([
      "encoders", "groups", "--tile", "2", "--group", "2x2x2", "--group", "5", "--starts", "4",
      "--steps", "200", "--json",
    ])
    #expect(result.status == 0 && result.errors.isEmpty)
    let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
    let rows = try #require((object as? [String: Any])?["rows"] as? [[String: Any]])
    #expect(rows.map { $0["rank"] as? Int } == [8, 7])
    #expect(rows.map { $0["realCharacters"] as? Int } == [8, 1])
    #expect(rows.map { $0["hasTripleProductProperty"] as? Bool } == [true, false])
    let bad = try Tool.run(["encoders", "groups", "--group", "1x2"])
    #expect(bad.status == 1 && bad.errors.contains("order at least 2"))
  }

  @Test func aFitCarriesItsTablesAndTheCommandThatMakesThemAgain() throws {
    let result = try Tool.run([
      "encoders", "fit", "--tile", "2", "--rank", "6", "--rounds", "1", "--json",
    ])
    #expect(result.status == 0, "\(result)")
    let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
    let report = try #require(object as? [String: Any])
    for table in ["activation", "weight", "decoder"] {
      #expect((report[table] as? [Double])?.count == 24)
    }
    #expect(
      report["command"] as? String == "tessera encoders fit --tile 2 --rank 6 --seed 1 --rounds 1")
  }

  @Test func thePlotNeedsAnEndingItKnows() throws {
    let result = try Tool.run(["encoders", "list", "--plot", "plot.pdf"])
    #expect(result.status == 1 && result.output.isEmpty)
    #expect(result.errors.contains("[plot] expected a file that ends in .svg or .png"))
  }

  @Test func productsOfTwoMatricesArePredictedAndMeasured() throws {
    let result = try Tool.run([
      "bench", "product", "--shape", "40x44x36", "--encoder", "strassen", "--encoder",
      "fitted-4-24", "--seeds", "2", "--json",
    ])
    #expect(result.status == 0 && result.errors.isEmpty, "\(result)")
    let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
    let rows = try #require((object as? [String: Any])?["rows"] as? [[String: Any]])
    #expect(rows.count == 6)
    for row in rows {
      let figures = ["predicted", "measured", "randomizedPredicted", "randomizedMeasured"]
        .compactMap { row[$0] as? Double }
      #expect(figures.count == 4)
      if row["encoder"] as? String == "strassen" { #expect(figures.allSatisfy { $0 < 1e-9 }) }
    }
    let unknown = try Tool.run(["bench", "product", "--encoder", "nothing"])
    #expect(unknown.status == 1 && unknown.errors.contains("strassen"))
  }

  @Test(.enabled(if: Tool.hasTokenizers, Tool.missing))
  func encodersOfLayersAreFittedAndWritten() throws {
    try withModel { folder in
      let arguments = [
        "encoders", "fit-layers", folder.file("model"), "--layers", "*.0.attention.self.*",
        "--rank", "24", "--calibrate", folder.file("texts.txt"), "--held-out", "30",
        "--alternations", "1",
      ]
      let written = folder.file("encoders.safetensors")
      let result = try Tool.run(arguments + ["--output", written, "--json"])
      #expect(result.status == 0 && result.sentences.isEmpty, "\(result)")
      let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
      let rows = try #require((object as? [String: Any])?["rows"] as? [[String: Any]])
      #expect(rows.map { $0["sharedBy"] as? Int } == [3, 3, 3])
      #expect(FileManager.default.fileExists(atPath: written))
      let text = try Tool.run(arguments + ["--separately"])
      #expect(text.output.contains("shared by"))
      let wrong = try Tool.run(arguments + ["--encoder", "strassen"])
      #expect(wrong.status == 1 && wrong.errors.contains("[strassen-tile] expected an encoder"))
    }
  }

  /// Bad usage is what the command line alone shows to be wrong.
  @Test(arguments: [
    ["unknown"], ["inspect"], ["inspect", "a", "b"], ["inspect", "a", "--jsn"],
    ["convert", "a"], ["convert", "a", "b"], ["convert", "a", "b", "--to"],
    ["convert", "a", "b", "--to", "2:4", "--ratio", "many"],
    ["convert", "a", "b", "--to", "btt", "--ratio", "2", "--budget", "2"],
    ["convert", "a", "b", "--to", "2:4", "--examples", "0"],
    ["convert", "a", "b", "--to", "2:4", "--examples", "-5"],
    ["convert", "a", "b", "--to", "2:4", "--held-out", "0"],
    ["convert", "a", "b", "--to", "2:4", "--held-out", "-1"],
    ["convert", "a", "b", "--to", "2:4", "--fit-examples", "0"],
    ["convert", "a", "b", "--to", "2:4", "--fit-examples", "-1"],
    ["convert", "a", "b", "--to", "2:4", "--distill", "-1"], ["sweep", "a"],
    ["bench", "layer", "--shape", "8x8", "--to", "2:4"],
    ["bench", "product", "--shape", "8x8"], ["bench", "product", "--seeds", "0"],
    ["bench", "product", "--inputs", "odd"], ["encoders", "list", "--shape", "8"],
    ["encoders", "groups", "--group", "2xa"], ["encoders", "fit-layers", "a", "--rank", "24"],
    ["encoders", "fit-layers", "a", "--rank", "24", "--layers", "*", "--shrinkage", "2"],
    ["bench", "fit", "a"], ["bench", "fit", "a", "--layers", "*", "--alternations", "-1"],
    ["bench", "layer", "--shape", "8x8x8", "--to", "2:4", "--dtype", "i4"],
    ["bench", "layer", "--shape", "8x8x8", "--to", "2:4", "--device", "abacus"],
  ])
  func badUsageExitsWith64(_ arguments: [String]) throws {
    let result = try Tool.run(arguments)
    #expect(result.status == 64 && !result.wasKilled, "\(result)")
    #expect(result.output.isEmpty && result.errors.contains("Usage: tessera"))
  }

  @Test func benchModelMeasuresAFolderWithStructures() throws {
    let folder = SmallModel.folder.path
    let result = try Tool.run([
      "bench", "model", folder, "--against", folder, "--to", "stl:rank=24", "--layers",
      "*.intermediate.dense", "--batch", "2", "--tokens", "6", "--device", "cpu", "--json",
    ])
    #expect(result.status == 0 && result.errors.isEmpty)
    let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
    let rows = try #require(object?["rows"] as? [[String: Any]])
    #expect(rows.map { $0["spec"] as? String } == [nil, nil, "stl:rank=24"])
    #expect(object?["units"] as? String == "tokens" && object?["tokens"] as? Int == 6)
    let text = try Tool.run(["bench", "model", folder, "--batch", "1", "--tokens", "3"])
    #expect(text.status == 0 && text.output.contains("tokens/s"))
    let missing = try Tool.run(["bench", "model", "no-such-model"])
    #expect(missing.status == 1 && missing.sentences.count == 1)
    #expect(try Tool.run(["bench", "model", folder, "--batch", "0"]).status == 64)
  }
}
