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
    let document = try Tool.run(["doctor", "--json"])
    let object = try JSONSerialization.jsonObject(with: Data(document.output.utf8))
    let items = try #require((object as? [String: Any])?["items"] as? [[String: Any]])
    #expect(items.count == 7 && items.allSatisfy { $0["name"] is String && $0["found"] is String })
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
    let rows = try JSONSerialization.jsonObject(with: Data(list.output.utf8)) as? [[String: Any]]
    #expect(try #require(rows).contains { $0["rank"] as? Int == 49 })
    let proofs = try Tool.run(["encoders", "verify"])
    #expect(proofs.status == 0)
    #expect(proofs.output.split(separator: "\n").allSatisfy { $0.hasPrefix("proved: ") })
  }

  /// Bad usage is what the command line alone shows to be wrong.
  @Test(arguments: [
    ["unknown"], ["inspect"], ["inspect", "a", "b"], ["inspect", "a", "--jsn"],
    ["convert", "a"], ["convert", "a", "b"], ["convert", "a", "b", "--to"],
    ["convert", "a", "b", "--to", "2:4", "--ratio", "many"],
    ["convert", "a", "b", "--to", "btt", "--ratio", "2", "--budget", "2"],
    ["convert", "a", "b", "--to", "2:4", "--texts", "0"],
    ["convert", "a", "b", "--to", "2:4", "--texts", "-5"],
    ["convert", "a", "b", "--to", "2:4", "--held-out", "2"],
    ["convert", "a", "b", "--to", "2:4", "--held-out", "-1"],
    ["convert", "a", "b", "--to", "2:4", "--fit-texts", "0"],
    ["convert", "a", "b", "--to", "2:4", "--fit-texts", "-1"],
    ["convert", "a", "b", "--to", "2:4", "--distill", "-1"], ["sweep", "a"],
    ["bench", "layer", "--shape", "8x8", "--to", "2:4"],
    ["bench", "layer", "--shape", "8x8x8", "--to", "2:4", "--dtype", "i4"],
    ["bench", "layer", "--shape", "8x8x8", "--to", "2:4", "--device", "abacus"],
  ])
  func badUsageExitsWith64(_ arguments: [String]) throws {
    let result = try Tool.run(arguments)
    #expect(result.status == 64 && !result.wasKilled, "\(result)")
    #expect(result.output.isEmpty && result.errors.contains("Usage: tessera"))
  }
}
