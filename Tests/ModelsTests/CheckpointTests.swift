import Foundation
import Layers
import MLX
import MLXNN
import Operators
import OrderedCollections
import TestSupport
import Testing

@testable import Models

@Suite struct CheckpointTests {
  private let query = "encoder.layer.0.attention.self.query"

  private func load(_ folder: URL) throws -> BERTCheckpoint {
    try BERTCheckpoint(folder: CheckpointFolder(url: folder))
  }

  private func refusal(_ folder: URL) throws -> String {
    try #require(throws: CheckpointError.self) { try load(folder) }.description
  }

  // MARK: - Reading

  @Test(arguments: [
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "hidden_act", "model_type",
  ])
  func aMissingKeyIsNamed(_ key: String) throws {
    try withCheckpoint { folder in
      try editConfiguration(folder) { $0[key] = nil }
      let sentence = try refusal(folder)
      #expect(sentence.contains("`\(key)`") && sentence.contains("config.json"))
    }
  }

  @Test(arguments: [
    ("hidden_size", JSON.string("39"), "a whole number"), ("hidden_size", .integer(0), "got 0"),
    ("hidden_size", .number("39.5"), "got 39.5"), ("hidden_size", .number("1e400"), "got 1e400"),
    ("vocab_size", .integer(-1), "got -1"), ("num_attention_heads", .integer(4), "a divisor of"),
    ("hidden_act", .string("mish"), "supported: gelu"), ("hidden_act", .array([]), "a string"),
    ("layer_norm_eps", .integer(0), "a positive number"), ("is_decoder", .bool(true), "false"),
    ("model_type", .string("llama"), "supported: bert"),
    ("position_embedding_type", .string("relative_key"), "supported: absolute"),
    ("tessera", .integer(1), "an object"), ("tessera", .object([:]), "tessera.version"),
    ("tessera", .object(["version": .integer(2)]), "supported: 1"),
    ("tessera", .object(["version": .integer(1)]), "tessera.layers"),
    (
      "tessera", .object(["version": .integer(1), "layers": .object(["x": .object([:])])]),
      "tessera.layers.x.spec"
    ),
    (
      "tessera",
      .object(["version": .integer(1), "layers": .object(["x": .object(["spec": .string("ks")])])]),
      "`x`, which is no dense layer"
    ),
  ])
  func aWrongKeyIsNamed(_ key: String, _ value: JSON, _ words: String) throws {
    try withCheckpoint { folder in
      try editConfiguration(folder) { $0[key] = value }
      let sentence = try refusal(folder)
      #expect(sentence.contains(words) && sentence.contains(key), "\(sentence)")
    }
  }

  @Test func missingFilesAreNamed() throws {
    #expect(throws: CheckpointError.notAFolder(path: "/no/such/folder")) {
      try CheckpointFolder(url: URL(filePath: "/no/such/folder"))
    }
    for name in ["config.json", "model.safetensors"] {
      try withCheckpoint { folder in
        try FileManager.default.removeItem(at: folder.appending(path: name))
        #expect(try refusal(folder).contains(name))
      }
    }
    try withCheckpoint { folder in
      try Data("{".utf8).write(to: folder.appending(path: "config.json"))
      #expect(try refusal(folder).contains("expected a JSON object"))
      try Data("[]".utf8).write(to: folder.appending(path: "config.json"))
      #expect(try refusal(folder).contains("it holds a list of 0"))
    }
  }

  @Test func tensorsAreCheckedAgainstTheConfiguration() throws {
    let weight = "\(query).weight"
    try withCheckpoint { folder in
      try editConfiguration(folder) { $0["intermediate_size"] = .integer(50) }
      #expect(try refusal(folder).contains("expected shape [50, 39] by config.json, got [51, 39]"))
    }
    try withCheckpoint { folder in
      try editTensors(folder) { $0[weight] = $0[weight]?.asType(.int32) }
      #expect(try refusal(folder).contains("like float32, got int32"))
      try editTensors(folder) { $0[weight] = nil }
      #expect(try refusal(folder).contains("`\(weight)`"))
      try editTensors(folder) { $0["embeddings.word_embeddings.weight"] = nil }
      #expect(try refusal(folder).contains("word_embeddings"))
    }
    // A configuration that asks for more memory than there is costs none.
    try withCheckpoint { folder in
      try editConfiguration(folder) {
        $0["hidden_size"] = .integer(13 << 20)
        $0["vocab_size"] = .integer(1 << 24)
      }
      #expect(try refusal(folder).contains("expected shape [16777216, 13631488]"))
    }
  }

  @Test func halfPrecisionAndOldNamesAndPrefixesAreRead() throws {
    let reference = try Golden.checkpoint().model
    let input = BERTInput(tokens: [[2, 40, 50, 3]])
    try withCheckpoint { folder in
      try editTensors(folder) { arrays in
        for (name, array) in arrays {
          arrays[name] = nil
          let old = name.replacing("LayerNorm.weight", with: "LayerNorm.gamma")
            .replacing("LayerNorm.bias", with: "LayerNorm.beta")
          arrays["bert.\(old)"] = name == "\(query).weight" ? array.asType(.bfloat16) : array
        }
        arrays["cls.predictions.bias"] = MLXArray([1, 2, 3] as [Float])
      }
      let checkpoint = try load(folder)
      #expect(checkpoint.prefix == "bert.")
      try expectClose(checkpoint.model(input), reference(input), .absolute(5e-2))
      let copy = folder.deletingLastPathComponent().appending(path: "copy")
      try checkpoint.write(to: copy)
      try expectUnchanged(copy, from: folder, files: [])
    }
  }

  @Test func shardsAreReadAsOne() throws {
    try withCheckpoint { folder in
      let whole = folder.appending(path: "model.safetensors")
      let arrays = try loadArrays(url: whole)
      try FileManager.default.removeItem(at: whole)
      var map = JSON.Object()
      for (index, shard) in ["a.safetensors", "b.safetensors"].enumerated() {
        let part = arrays.filter { $0.key.utf8.count % 2 == index }
        try save(arrays: part, url: folder.appending(path: shard))
        for name in part.keys.sorted() { map[name] = .string(shard) }
      }
      func writeIndex(_ map: JSON.Object) throws {
        try Data(JSON.object(["weight_map": .object(map)]).encoded().utf8)
          .write(to: folder.appending(path: "model.safetensors.index.json"))
      }
      try writeIndex(map)
      #expect(try load(folder).folder.tensorNames == arrays.keys.sorted())

      let name = "\(query).weight"
      var wrong = map
      wrong[name] = .string(
        map[name] == .string("a.safetensors") ? "b.safetensors" : "a.safetensors")
      try writeIndex(wrong)
      #expect(try refusal(folder).contains("do not agree about tensor `\(name)`"))
      wrong[name] = nil
      try writeIndex(wrong)
      #expect(try refusal(folder).contains("do not agree about tensor `\(name)`"))
      for path in ["../a.safetensors", "/etc/passwd", "", ".."] {
        wrong[name] = .string(path)
        try writeIndex(wrong)
        #expect(try refusal(folder).contains("the name of a file beside the index"))
      }
      wrong[name] = .string("c.safetensors")
      try writeIndex(wrong)
      #expect(throws: SafetensorsError.self) { try load(folder) }
    }
  }

  // MARK: - Writing

  @Test func anUnchangedModelComesOutAsItWentIn() throws {
    try withCheckpoint { folder in
      let files = FileManager.default
      try Data("1".utf8).write(to: folder.appending(path: "vocab.txt"))
      try Data("old".utf8).write(to: folder.appending(path: "pytorch_model.bin"))
      try Data("hidden".utf8).write(to: folder.appending(path: ".gitattributes"))
      try files.createDirectory(
        at: folder.appending(path: "1_Pooling"), withIntermediateDirectories: false)
      try Data("{}".utf8).write(to: folder.appending(path: "1_Pooling/config.json"))
      try files.createSymbolicLink(
        atPath: folder.appending(path: "link.txt").path, withDestinationPath: "vocab.txt")
      try files.createSymbolicLink(
        at: folder.appending(path: "circle"), withDestinationURL: folder)
      let copy = folder.deletingLastPathComponent().appending(path: "deep/down/copy")
      try load(folder).write(to: copy)
      #expect(
        try files.subpathsOfDirectory(atPath: copy.path).sorted() == [
          "1_Pooling", "1_Pooling/config.json", "config.json", "link.txt", "model.safetensors",
          "tokenizer.json", "vocab.txt",
        ])
      #expect(try String(contentsOf: copy.appending(path: "link.txt"), encoding: .utf8) == "1")
      // The configuration, to the character: it is indented as transformers does it.
      try expectUnchanged(copy, from: folder, files: ["config.json", "tokenizer.json"])
      let tensors = copy.appending(path: "model.safetensors")
      #expect(try loadArraysAndMetadata(url: tensors).1 == ["format": "pt"])
      #expect(
        try files.contentsOfDirectory(atPath: copy.deletingLastPathComponent().path).count == 1)
    }
  }

  @Test func structuredLayersComeBack() throws {
    try withCheckpoint { folder in
      let checkpoint = try BERTCheckpoint(
        folder: CheckpointFolder(url: folder), structuredLayers: TwiceHalf.factory)
      let dense = try #require(checkpoint.model.namedModules()[query] as? Linear)
      try checkpoint.model.update(
        modules: [query: TwiceHalf(half: dense.weight / 2, bias: dense.bias)])
      let input = BERTInput(tokens: [[2, 40, 50, 3]])
      let copy = folder.deletingLastPathComponent().appending(path: "copy")
      try checkpoint.write(to: copy)
      let files = try CheckpointFolder(url: copy)
      #expect(files.tensor("\(query).weight") == nil)
      #expect(files.tensor("\(query).twice.half")?.shape == [39, 39])
      #expect(
        files.configuration.object["tessera"]?.encoded()
          == #"{"version":1,"layers":{"\#(query)":{"spec":"twice"}}}"#)
      let again = try BERTCheckpoint(folder: files, structuredLayers: TwiceHalf.factory)
      #expect(again.model.namedModules()[query] is TwiceHalf)
      try expectClose(
        again.model(input), Golden.checkpoint().model(input), .roundings(64, of: .float32))
      #expect(throws: StructuredLayerFactory.UnknownStructure.self) { try load(copy) }
      // Made dense again, the key goes.
      let plain = folder.deletingLastPathComponent().appending(path: "plain")
      try again.model.update(modules: [query: Linear(weight: dense.weight, bias: dense.bias)])
      try again.write(to: plain)
      #expect(try load(plain).folder.configuration.object["tessera"] == nil)
      #expect(
        try CheckpointFolder(url: plain).tensorNames == Golden.checkpoint().folder.tensorNames)
    }
  }

  @Test(arguments: ["btt:rank=2", "lowrank:rank=3", "2:4", "kronecker"])
  func structuresOfTheLibraryComeBack(_ spec: String) throws {
    try withCheckpoint { folder in
      let checkpoint = try BERTCheckpoint(
        folder: CheckpointFolder(url: folder), structuredLayers: .standard)
      let layer = try StructuredLinear(
        OperatorSpec(parsing: spec), inputs: 39, outputs: 39, key: MLXRandom.key(3))
      try checkpoint.model.update(modules: [query: layer])
      let copy = folder.deletingLastPathComponent().appending(path: "copy")
      try checkpoint.write(to: copy)
      let again = try BERTCheckpoint(
        folder: CheckpointFolder(url: copy), structuredLayers: .standard)
      let names = layer.parameters().keys.map { "\(query).\($0)" }
      #expect(names.allSatisfy { again.folder.tensor($0) != nil })
      let input = BERTInput(tokens: [[2, 40, 50, 3]])
      try expectClose(
        again.model(input), checkpoint.model(input), .roundings(64, of: .float32))
      try editConfiguration(copy) {
        $0["tessera"] = .object([
          "version": .integer(1), "layers": .object([query: .object(["spec": .string("bttt")])]),
        ])
      }
      let error = try #require(throws: (any Error).self) {
        try BERTCheckpoint(folder: CheckpointFolder(url: copy), structuredLayers: .standard)
      }
      #expect("\(error)".contains("bttt"))
    }
  }

  @Test func targetsInTheWayAreRefused() throws {
    try withCheckpoint { folder in
      let checkpoint = try load(folder)
      let parent = folder.deletingLastPathComponent()
      let target = parent.appending(path: "out")
      let link = parent.appending(path: "link")
      try FileManager.default.createSymbolicLink(at: link, withDestinationURL: folder)
      for inside in [folder, folder.appending(path: "out"), link.appending(path: "a/b"), parent] {
        for force in [false, true] {
          let error = try #require(throws: CheckpointError.self) {
            try checkpoint.write(to: inside, replacingExisting: force)
          }
          guard case .targetOverlapsSource = error else {
            Issue.record("\(inside): \(error)")
            continue
          }
        }
      }
      try checkpoint.write(to: target)
      let old = target.appending(path: "old.txt")
      try Data().write(to: old)
      let error = try #require(throws: CheckpointError.self) { try checkpoint.write(to: target) }
      #expect(error.description.contains("--force"))
      #expect(FileManager.default.fileExists(atPath: old.path))
      try checkpoint.write(to: target, replacingExisting: true)
      #expect(!FileManager.default.fileExists(atPath: old.path))
      #expect(try FileManager.default.contentsOfDirectory(atPath: parent.path).count == 3)
      #expect(throws: FileError.self) {
        try checkpoint.write(to: URL(filePath: "/proc/version/out"))
      }
    }
  }

  @Test func aFailureLeavesTheTargetAsItWas() throws {
    try withCheckpoint { folder in
      let checkpoint = try load(folder)
      let parent = folder.deletingLastPathComponent()
      let target = parent.appending(path: "out")
      for existing in [false, true] {
        #expect(throws: MLXError.self) {
          try checkpoint.write(to: target, replacingExisting: existing) { _ in
            throw MLXError("the disk is full")
          }
        }
        #expect(FileManager.default.fileExists(atPath: target.path) == existing)
        if !existing { try checkpoint.write(to: target) }
      }
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: parent.path).sorted()
          == ["model", "out"])
    }
  }
}
