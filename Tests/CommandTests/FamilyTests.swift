import Foundation
import Layers
import MLX
import MLXNN
import Models
import Operators
import OrderedCollections
import TestSupport
import Testing

/// Commands on folders of every family.
@Suite struct FamilyTests {
  private func object(_ result: Tool.Result) throws -> [String: Any] {
    try #require(
      try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any],
      "\(result.errors)")
  }

  private func path(_ name: String) -> String { SmallModel.golden.file(name) }

  @Test(arguments: [
    ("bert-odd", 13, 27831), ("gpt2-odd", 8, 9608), ("llama-odd", 15, 19170),
    ("vit-odd", 14, 9111), ("t2t-odd", 18, 16445), ("mlp-odd", 3, 929),
  ])
  func everyFamilyIsInspected(_ name: String, _ layers: Int, _ parameters: Int) throws {
    let inspection = try object(Tool.run(["inspect", path(name), "--json"]))
    #expect((inspection["layers"] as? [Any])?.count == layers)
    #expect(inspection["modelParameters"] as? Int == parameters)
    let text = try Tool.run(["inspect", path(name)])
    #expect(text.status == 0 && text.output.contains("\(layers) linear layers"))
  }

  @Test(arguments: ["gpt2-odd", "llama-odd", "vit-odd", "t2t-odd", "mlp-odd"])
  func convertedModelsAreMadeDenseAgain(_ name: String) throws {
    func load(_ url: URL) throws -> any CheckpointModel {
      try ModelRegistry.load(CheckpointFolder(url: url), structuredLayers: .standard).module
    }
    func outputs(_ model: any CheckpointModel) throws -> MLXArray {
      if let model = model as? any LanguageModel { return try model([[1, 2, 3, 4]]) }
      let images = try #require(model as? any ImageClassifier)
      return try images(MLXRandom.normal([2] + images.imageShape, key: MLXRandom.key(1)))
    }
    try withTemporaryFolder { folder in
      let converted = folder.appending(path: "converted")
      let checkpoint = try ModelRegistry.load(
        CheckpointFolder(url: SmallModel.golden.appending(path: name)))
      let layers = checkpoint.module.namedModules().filter { $0.value is Linear }
      try checkpoint.module.replaceLayers(
        layers.mapValues { _ in OperatorSpec.lowRank(rank: 3) }, key: MLXRandom.key(2))
      try checkpoint.module.write(to: converted)
      let dense = folder.appending(path: "dense")
      let result = try Tool.run(["densify", converted.path, dense.path])
      #expect(result.output.contains("\(layers.count) layers made dense"), "\(result.errors)")
      let (before, after) = (try load(converted), try load(dense))
      #expect(after.namedModules().values.count { $0 is Linear } == layers.count)
      try expectClose(outputs(after), outputs(before), .relative(1e-4))
    }
  }

  @Test func unknownFamiliesAreRefused() throws {
    try withTemporaryFolder { folder in
      let model = folder.appending(path: "model")
      try FileManager.default.copyItem(
        at: SmallModel.golden.appending(path: "mlp-odd"), to: model)
      let url = model.appending(path: "config.json")
      let text = try String(contentsOf: url, encoding: .utf8)
      try Data(text.replacing("\"mlp\"", with: "\"mamba\"").utf8).write(to: url)
      let result = try Tool.run(["inspect", model.path])
      #expect(result.status == 1 && result.sentences.count == 1)
      #expect(result.errors.contains("supported: bert, gpt2, llama, mlp, vit, t2t_vit"))
      // What is made for sentences says so.
      let embed = try Tool.run(["embed", path("gpt2-odd"), "--data", url.path])
      #expect(embed.status == 1 && embed.errors.contains("supported: bert"))
    }
  }

  @Test(.enabled(if: Tool.hasTokenizers, Tool.missing))
  func textsAreGenerated() throws {
    for name in ["gpt2-odd", "llama-odd"] {
      let greedy = ["generate", path(name), "--prompt", "Hi there", "--tokens", "6"]
      let sampled = greedy + ["--temperature", "1.5", "--seed"]
      let answers = try [greedy, greedy, sampled + ["1"], sampled + ["1"], sampled + ["2"]].map {
        try Tool.run($0 + ["--json"])
      }
      let texts = try answers.map { try #require(try object($0)["text"] as? String) }
      #expect(texts.allSatisfy { $0.hasPrefix("Hi there") })
      #expect(texts[0] == texts[1] && texts[2] == texts[3])
      #expect(Set(texts).count == 3)
      #expect(try (object(answers[0])["tokens"] as? [Int])?.count ?? 7 <= 6)
      #expect(answers[0].errors.contains("generate 100%"))
      #expect(try Tool.run(greedy).output == texts[0] + "\n")
    }
  }

  @Test(.enabled(if: Tool.hasTokenizers, Tool.missing))
  func wrongRequestsAreRefused() throws {
    func refusal(_ arguments: String...) throws -> String {
      let result = try Tool.run(["generate"] + arguments)
      #expect(result.status == 1 && result.output.isEmpty && result.sentences.count == 1)
      return result.errors
    }
    let model = path("gpt2-odd")
    #expect(try refusal(model, "--prompt", "Hi", "--tokens", "50").contains("at most 23 tokens"))
    #expect(try refusal(model, "--prompt", "", "--tokens", "3").contains("at least one token"))
    #expect(try refusal(model, "--prompt", "Hi", "--tokens", "0").contains("1 token or more"))
    #expect(
      try refusal(model, "--prompt", "Hi", "--tokens", "3", "--temperature=-1")
        .contains("a temperature of 0 or more"))
    #expect(try refusal(path("vit-odd"), "--prompt", "Hi").contains("got model_type \"vit\""))
    #expect(try refusal(path("none"), "--prompt", "Hi").contains("expected a folder"))
    try withTemporaryFolder { folder in
      let copy = folder.appending(path: "model")
      try FileManager.default.copyItem(at: SmallModel.golden.appending(path: "gpt2-odd"), to: copy)
      let url = copy.appending(path: "tokenizer.json")
      let text = try String(contentsOf: url, encoding: .utf8)
      // The letter H becomes a token behind the end of the model's table.
      try Data(text.replacing("\"H\": 40", with: "\"H\": 4000").utf8).write(to: url)
      #expect(
        try refusal(copy.path, "--prompt", "Hi", "--tokens", "3")
          .contains("tokens from 0 to 94, got 4000"))
      try FileManager.default.removeItem(at: url)
      #expect(try refusal(copy.path, "--prompt", "Hi").contains("tokenizer.json"))
    }
  }

  // MARK: - Conversion

  /// A text of some windows of tokens in a new file.
  private func writeText(_ folder: URL) throws -> String {
    let text = folder.appending(path: "text.txt")
    try Data((SmallModel.sentences + SmallModel.sentences).joined(separator: " ").utf8)
      .write(to: text)
    return text.path(percentEncoded: false)
  }

  @Test(.enabled(if: Tool.hasTokenizers, Tool.missing), arguments: ["gpt2-odd", "llama-odd"])
  func aLanguageModelIsConvertedAndUsed(_ name: String) throws {
    try withTemporaryFolder { folder in
      let text = try writeText(folder)
      let out = folder.file("out")
      let page = folder.file("report.html")
      let converted = try Tool.run([
        "convert", path(name), out, "--to", "stl:rank=24,rows=batch", "--calibrate", text,
        "--tokens", "16", "--distill", "4", "--report", page, "--json",
      ])
      #expect(converted.status == 0 && converted.sentences.isEmpty, "\(converted.errors)")
      let report = try object(converted)
      #expect(
        (report["stages"] as? [[String: Any]])?.map { $0["name"] as? String }
          == ["fit", "distil layers", "distil end to end"])
      #expect(FileManager.default.fileExists(atPath: page))
      let alone = try object(Tool.run(["evaluate", path(name), "--data", text, "--json"]))
      let beside = try object(
        Tool.run(["evaluate", out, "--against", path(name), "--data", text, "--json"]))
      let dense = try #require((alone["fidelity"] as? [String: Any])?["perplexity"] as? Double)
      let measures = try #require(beside["fidelity"] as? [String: Any])
      let reference = try #require(measures["referencePerplexity"] as? Double)
      #expect(abs(reference / dense - 1) < 1e-4 && measures["agreement"] as? Double ?? 1 < 1)
      let generated = try Tool.run(["generate", out, "--prompt", "Hi", "--tokens", "8"])
      #expect(generated.status == 0 && generated.output.hasPrefix("Hi"), "\(generated.errors)")
      let sweep = try Tool.run([
        "sweep", path(name), "--to", "lowrank", "--to", "2:4", "--ratio", "2", "--calibrate", text,
        "--tokens", "16",
      ])
      #expect(sweep.output.contains("dense perplexity"), "\(sweep.errors)")
      #expect(sweep.output.split(separator: "\n").count == 3)
    }
  }

  @Test(.enabled(if: Tool.hasTokenizers, Tool.missing), arguments: ["gpt2-odd", "llama-odd"])
  func layersOfALanguageModelAreFitted(_ name: String) throws {
    try withTemporaryFolder { folder in
      let text = try writeText(folder)
      let common = [
        path(name), "--layers", "*.0.*", "--calibrate", text, "--tokens", "16", "--batch", "4",
        "--alternations", "1", "--json",
      ]
      let output = folder.file("encoders.safetensors")
      let made = try Tool.run(
        ["encoders", "fit-layers"] + common + ["--rank", "24", "--output", output])
      #expect(made.status == 0 && made.sentences.isEmpty, "\(made.errors)")
      #expect((try object(made)["examples"] as? [String: Any])?["unit"] as? String == "windows")
      #expect(try !loadArrays(url: URL(filePath: output)).isEmpty)
      let compared = try Tool.run(["bench", "fit"] + common + ["--rank", "24"])
      #expect(compared.status == 0, "\(compared.errors)")
      #expect(
        try (object(compared)["rows"] as? [Any])?.count == (object(made)["rows"] as? [Any])?.count)
    }
  }

  /// Trained on, a converted language model still sees no later token.
  @Test(arguments: ["gpt2-odd", "llama-odd"])
  func aConvertedLanguageModelIsTrainedOn(_ name: String) throws {
    try withTemporaryFolder { folder in
      let converted = folder.appending(path: "converted")
      let checkpoint = try ModelRegistry.load(
        CheckpointFolder(url: SmallModel.golden.appending(path: name)))
      let layers = checkpoint.module.namedModules().filter { $0.value is Linear }
      let spec = try OperatorSpec(parsing: "stl:rank=24,rows=batch")
      try checkpoint.module.replaceLayers(
        layers.mapValues { _ in spec }, key: MLXRandom.key(2))
      try checkpoint.module.write(to: converted)
      let rows = MLXArray((0..<24 * 8).map { Int32($0 * 7 % 95) }, [24, 8])
      try save(
        arrays: ["inputs": rows, "targets": (rows + 7) % MLXArray(Int32(95))],
        url: folder.appending(path: "data.safetensors"))
      let recipe = folder.appending(path: "recipe.yaml")
      try Data(
        """
        model: {checkpoint: converted}
        data: data.safetensors
        output: run
        steps: 5
        batch: 8
        optimizer: {rate: 0.01}
        compile: false
        """.utf8
      ).write(to: recipe)
      let result = try Tool.run(["train", recipe.path])
      #expect(result.status == 0, "\(result.errors)")
      let trained = try #require(
        try ModelRegistry.load(
          CheckpointFolder(url: folder.appending(path: "run/model")), structuredLayers: .standard
        ).module as? any LanguageModel)
      let base = rows[0..<4]
      for token in 1..<8 {
        let moved = concatenated(
          [base[0..., ..<token], (base[0..., token...] + 9) % MLXArray(Int32(95))], axis: 1)
        let leak = try LeakTest.leak(
          of: { trained.logits(tokens: $0, cache: nil) }, from: base, to: moved, before: token)
        #expect(leak.forbidden == 0 && leak.allowed > 1e-4, "\(leak)")
      }
    }
  }

  @Test func whatCannotBeConvertedSaysWhy() throws {
    try withTemporaryFolder { folder throws in
      func refusal(_ name: String, _ arguments: String...) throws -> String {
        let result = try Tool.run(["convert", path(name), folder.file("out")] + arguments)
        #expect(result.status == 1 && result.output.isEmpty && result.sentences.count == 1)
        #expect(try folder.names.isEmpty)
        return result.errors
      }
      #expect(try refusal("gpt2-odd", "--to", "stl:rank=24").contains("rows=batch"))
      #expect(try refusal("vit-odd", "--to", "2:4").contains("tessera data images"))
      let fit = try Tool.run(["bench", "fit", path("vit-odd"), "--layers", "*.0.*"])
      #expect(fit.status == 1 && fit.errors.contains("tessera data images"))
      #expect(
        try refusal("vit-odd", "--to", "2:4", "--calibrate", folder.path)
          .contains("tessera data"))
      #expect(
        try refusal("gpt2-odd", "--to", "2:4", "--tokens", "24").contains("1 to 23 tokens"))
    }
  }
}
