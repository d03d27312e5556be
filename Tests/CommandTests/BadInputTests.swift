import Foundation
import MLX
import TestSupport
import Testing

@Suite struct BadInputTests {
  /// Expects exit code 1, one sentence with the given words, nothing on standard output, and
  /// nothing beside what was there.
  private func expectRefusal(
    _ arguments: [String], _ words: String, in folder: URL,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let before = try folder.names
    let result = try Tool.run(arguments)
    #expect(result.status == 1 && !result.wasKilled, "\(result)", sourceLocation: sourceLocation)
    #expect(result.output.isEmpty, sourceLocation: sourceLocation)
    #expect(result.sentences.count == 1, "\(result.errors)", sourceLocation: sourceLocation)
    let sentence = result.sentences.first ?? ""
    #expect(
      sentence.hasPrefix("Error: ") && sentence.contains(words), "\(sentence)",
      sourceLocation: sourceLocation)
    #expect(try folder.names == before, sourceLocation: sourceLocation)
  }

  private func convert(
    _ folder: URL, to spec: String = "2:4", _ more: String...
  ) -> [String] {
    [
      "convert", folder.file("model"), folder.file("out"), "--to", spec, "--calibrate",
      folder.file("texts.txt"), "--examples", "40", "--held-out", "20",
    ] + more
  }

  // MARK: - The model

  @Test func aMissingFolderIsRefused() throws {
    try withModel { folder in
      try FileManager.default.removeItem(at: folder.appending(path: "model"))
      try expectRefusal(convert(folder), "expected a folder with a model", in: folder)
      try expectRefusal(
        ["inspect", folder.file("texts.txt")], "expected a folder with a model", in: folder)
      try expectRefusal(
        ["embed", folder.file("model"), "--data", folder.file("texts.txt")], "expected a folder",
        in: folder)
    }
  }

  @Test(arguments: [
    (4, "8 bytes that hold the header's length"), (1000, "the file is truncated"),
    (60_000, "truncated or damaged"),
  ])
  func truncatedWeightsAreRefused(_ length: Int, _ words: String) throws {
    try withModel { folder in
      let url = folder.appending(path: "model/model.safetensors")
      try Data(contentsOf: url).prefix(length).write(to: url)
      try expectRefusal(convert(folder), words, in: folder)
    }
  }

  @Test(
    arguments: [
      (0, [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], "a header of at most"),
      (8, [0x5B], "safetensors"), (40, [0xFF], "UTF-8"),
    ] as [(Int, [UInt8], String)])
  func corruptedHeadersAreRefused(_ offset: Int, _ bytes: [UInt8], _ words: String) throws {
    try withModel { folder in
      let url = folder.appending(path: "model/model.safetensors")
      var data = try Data(contentsOf: url)
      data.replaceSubrange(offset..<(offset + bytes.count), with: bytes)
      try data.write(to: url)
      try expectRefusal(convert(folder), words, in: folder)
    }
  }

  @Test func hostileHeadersAreRefused() throws {
    func tensor(_ dtype: String, _ shape: String, _ range: String) -> String {
      #"{"dtype":"\#(dtype)","shape":\#(shape),"data_offsets":\#(range)}"#
    }
    let name = "embeddings.word_embeddings.weight"
    let cases: [(header: String, words: String)] = [
      (
        #"{"\#(name)":\#(tensor("F32", "[2]", "[0,8]")),"b":\#(tensor("F32", "[2]", "[4,12]"))}"#,
        "share bytes"
      ),
      (#"{"\#(name)":\#(tensor("F32", "[2]", "[4,12]"))}"#, "belong to no tensor"),
      (#"{"\#(name)":{"dtype":"F32","shape":[3]}}"#, "has no `data_offsets`"),
      (#"{"\#(name)":\#(tensor("F99", "[3]", "[0,12]"))}"#, "F99"),
      (#"{"\#(name)":\#(tensor("I32", "[3]", "[0,12]"))}"#, "expected"),
      (
        #"{"\#(name)":\#(tensor("F32", "[4294967296,4294967296,16]", "[0,12]"))}"#,
        "do not fit into 64 bits"
      ),
    ]
    for (header, words) in cases {
      try withModel { folder in
        let length = UInt64(header.utf8.count)
        let prefix = (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * UInt64($0))) }
        try (Data(prefix) + Data(header.utf8) + Data(count: 12))
          .write(to: folder.appending(path: "model/model.safetensors"))
        try expectRefusal(convert(folder), words, in: folder)
      }
    }
  }

  @Test func aMissingKeyIsNamed() throws {
    try withModel { folder in
      let url = folder.appending(path: "model/config.json")
      let text = try String(contentsOf: url, encoding: .utf8)
      try Data(text.replacing("\"hidden_size\"", with: "\"hidden\"").utf8).write(to: url)
      try expectRefusal(convert(folder), "`hidden_size`", in: folder)
      try Data("{".utf8).write(to: url)
      try expectRefusal(convert(folder), "JSON", in: folder)
    }
  }

  @Test func aTensorOfTheWrongShapeIsRefusedWithBothShapes() throws {
    try withModel { folder in
      let url = folder.appending(path: "model/config.json")
      let text = try String(contentsOf: url, encoding: .utf8)
      try Data(
        text.replacing("\"intermediate_size\": 51", with: "\"intermediate_size\": 50").utf8
      ).write(to: url)
      try expectRefusal(
        convert(folder), "expected shape [50, 39] by config.json, got [51, 39]", in: folder)
    }
  }

  // MARK: - The texts

  @Test func textsThatAreNoneAreRefused() throws {
    try withModel { folder in
      let texts = folder.appending(path: "texts.txt")
      try Data([0x61, 0xFF, 0x0A]).write(to: texts)
      try expectRefusal(convert(folder), "UTF-8", in: folder)
      try Data("one\ntwo\nthree\n".utf8).write(to: texts)
      try expectRefusal(convert(folder), "at least 21 different sentences", in: folder)
      try FileManager.default.removeItem(at: texts)
      try expectRefusal(convert(folder), "texts.txt", in: folder)
    }
  }

  @Test func aMissingTokenizerIsNamed() throws {
    try withModel { folder in
      try FileManager.default.removeItem(at: folder.appending(path: "model/tokenizer.json"))
      try expectRefusal(convert(folder), "tokenizer.json", in: folder)
    }
  }

  @Test(.enabled(if: Tool.hasTokenizers, Tool.missing))
  func aBrokenTokenizerIsNamed() throws {
    try withModel { folder in
      try Data("{}".utf8).write(to: folder.appending(path: "model/tokenizer.json"))
      try expectRefusal(convert(folder), "tokenizer.json", in: folder)
    }
  }

  @Test(.enabled(if: Tool.hasTokenizers, Tool.missing))
  func tokensThatTheModelDoesNotHaveAreRefused() throws {
    try withModel { folder in
      let url = folder.appending(path: "model/tokenizer.json")
      let text = try String(contentsOf: url, encoding: .utf8)
      // The letter e becomes a token behind the end of the model's table.
      try Data(text.replacing("\"e\": 41", with: "\"e\": 4100").utf8).write(to: url)
      try expectRefusal(convert(folder), "tokens from 0 to 108, got 4100", in: folder)
    }
  }

  // MARK: - The plan

  @Test func wrongSpecsAreRefused() throws {
    try withModel { folder in
      for (spec, words) in [
        ("bttt:rank=2", "did you mean"), ("btt", "'rank'"), ("lowrank:rank=40", "got 40"),
        ("btt:rank=2,in=5x5", "in=5x5"), ("stl:rank=3", "3"), ("", "[spec]"),
      ] {
        try expectRefusal(convert(folder, to: spec), words, in: folder)
      }
      for (ratio, words) in [("1", "above 1"), ("nan", "above 1"), ("1e9", "smaller ratio")] {
        try expectRefusal(convert(folder, to: "lowrank", "--ratio", ratio), words, in: folder)
      }
      for (list, budget, words) in [
        ("2:4", "50", "smaller budget ratio"), ("lowrank,bttt", "2", "'bttt'"),
        ("lowrank", "0.5", "above 1"),
      ] where budget != "50" || Tool.hasTokenizers {
        try expectRefusal(
          convert(folder, to: list, "--budget", budget), words, in: folder)
      }
      try expectRefusal(
        convert(folder, to: "2:4", "--layers", "decoder.*"), "decoder.*", in: folder)
    }
  }

  // MARK: - The output

  @Test func anOutputInTheWayIsRefused() throws {
    try withModel { folder in
      let out = folder.appending(path: "out")
      try FileManager.default.createDirectory(at: out, withIntermediateDirectories: false)
      try Data("kept".utf8).write(to: out.appending(path: "file"))
      try expectRefusal(convert(folder), "--force", in: folder)
      #expect(try out.names == ["file"])
      var inside = convert(folder, to: "2:4", "--force")
      inside[2] = folder.file("model/out")
      try expectRefusal(inside, "apart from the model", in: folder)
    }
  }

  @Test func anOutputThatCannotBeWrittenIsRefused() throws {
    try withModel { folder in
      // A file where a folder is needed stops root too.
      for target in ["texts.txt/out", "texts.txt/deep/out"] {
        var arguments = convert(folder)
        arguments[2] = folder.file(target)
        try expectRefusal(arguments, "cannot write to", in: folder)
      }
      try expectRefusal(
        convert(folder, to: "2:4", "--report", folder.file("none/report.html")),
        "cannot write to", in: folder)
      let (model, data) = (folder.file("model"), folder.file("texts.txt"))
      if Tool.hasTokenizers {
        try expectRefusal(
          ["embed", model, "--data", data, "--output", folder.file("none/e.safetensors")],
          "none/e.safetensors", in: folder)
      }
    }
  }
}
