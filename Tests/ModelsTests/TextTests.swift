import Foundation
import MLX
import TestSupport
import Testing

@testable import Models

@Suite struct TextTests {
  private static let hasSafetensors =
    (try? PythonInterpreter.find().folder(ofPackage: "safetensors")) != nil
  private static let hasWordNet = FileManager.default.fileExists(
    atPath: Corpus.wordNetFolder.appending(path: "data.noun").path)

  // MARK: - Tokens

  @Test(.enabled(if: Tokenizers.isInstalled, Tokenizers.missing))
  func tokensAreThoseOfTheFile() throws {
    let tokenizer = try Tokenizer(folder: Golden.url("bert-odd"), maximumLength: 6)
    // [CLS] is 2, [SEP] 3, [UNK] 1; 32 marks follow the 5 special tokens, then a–z and 0–9, then
    // the same inside words.
    let (a, inside) = (Int32(37), Int32(73))
    let tokens = try tokenizer.tokens(of: ["ab", "a\nb\"", "", "Ä 日", "aaaaaaaaa"])
    #expect(
      tokens == [
        [2, a, inside + 1, 3], [2, a, a + 1, 6, 3], [2, 3], [2, a, 1, 3],
        [2, a, inside, inside, inside, 3],
      ])
    #expect(try tokenizer.tokens(of: []) == [])
  }

  @Test(.enabled(if: Tokenizers.isInstalled, Tokenizers.missing))
  func aBrokenTokenizerIsNamed() throws {
    try withTemporaryFolder { folder in
      #expect(throws: CheckpointError.self) { try Tokenizer(folder: folder, maximumLength: 8) }
      try Data("{}".utf8).write(to: folder.appending(path: "tokenizer.json"))
      let error = try #require(throws: PythonInterpreter.PythonError.self) {
        try Tokenizer(folder: folder, maximumLength: 8).tokens(of: ["a"])
      }
      #expect(error.description.contains("tokenizer.json"))
    }
  }

  @Test func theInterpreterIsFound() throws {
    try withTemporaryFolder { folder in
      func program(_ path: String) throws -> String {
        let url = folder.appending(path: path)
        try FileManager.default.createDirectory(
          at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data("#!/bin/sh\necho no such thing >&2\nexit 69\n".utf8).write(to: url)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: url.path)
        return url.path
      }
      let executable = folder.appending(path: "checkout/.build/debug/tessera")
      let path = "/no/such/folder:\(folder.path)/bin"
      func find(_ environment: [String: String]) throws -> String {
        try PythonInterpreter.find(environment: environment, executable: executable).path
      }
      #expect(throws: PythonInterpreter.PythonError.notFound) { try find(["PATH": path]) }
      let onPath = try program("bin/python3")
      #expect(try find(["PATH": path]) == onPath)
      let beside = try program("checkout/.venv/bin/python")
      #expect(try find(["PATH": path]) == beside)
      let named = try program("own/python")
      #expect(try find(["PATH": path, "TESSERA_PYTHON": named]) == named)
      #expect(throws: PythonInterpreter.PythonError.wrongVariable(path: "/no/python")) {
        try find(["TESSERA_PYTHON": "/no/python"])
      }
      let error = try #require(throws: PythonInterpreter.PythonError.self) {
        try PythonInterpreter(path: named).folder(ofPackage: "tokenizers")
      }
      #expect(error == .missingPackage("no such thing", interpreter: named))
      #expect(error.description.contains("-m pip install"))
    }
  }

  // MARK: - Batches

  @Test func batchesHoldEverySequenceOnceAndOnlyEqualLengths() throws {
    let sequences = (0..<200).map { index in
      [Int32](repeating: Int32(index), count: 1 + index * index % 17)
    }
    let batches = TokenBatches(sequences, rows: 7, tokens: 40)
    var seen: Set<Int> = []
    for batch in batches {
      #expect(Set(batch.tokens.map(\.count)).count == 1)
      #expect(batch.tokens.count <= 7)
      #expect(batch.tokens.count == 1 || batch.tokens.count * batch.tokens[0].count <= 40)
      for (row, index) in zip(batch.tokens, batch.indices) {
        #expect(row == sequences[index])
        #expect(seen.insert(index).inserted)
      }
    }
    #expect(seen.count == 200 && batches.count == 200)
    let lengths = batches.map { $0.tokens[0].count }
    #expect(lengths == lengths.sorted())
  }

  // MARK: - Sentences

  @Test func entriesAreCutIntoSentences() {
    let text = """
        1 This is the licence of the file; it has no bar
      1 03 n 01 thing | a kind of thing; short; "he said: wait; then left it"\("  ")
      2 03 n 01 thing | a quote that "never ends; is left out
      3 03 n 01 thing | déjà vu on a new line

      """
    #expect(
      Corpus.sentences(inEntries: Array(text.utf8)) == [
        "a kind of thing", "he said: wait; then left it", "déjà vu on a new line",
      ])
  }

  @Test func theTwoPartsAreDisjointAndDoNotDependOnTheOrder() throws {
    let candidates = (0..<50).map { "sentence number \($0) of this list" }
    let corpus = try Corpus(
      candidates: candidates + ["SENTENCE number 7 of this list"], calibration: 30, heldOut: 20,
      source: "a list")
    #expect(Set(corpus.calibration + corpus.heldOut) == Set(candidates))
    #expect(
      try Corpus(
        candidates: candidates.shuffled(), calibration: 30, heldOut: 20, source: "a list")
        == corpus)
    #expect(throws: Corpus.CorpusError.tooSmall(source: "a list", expected: 60, got: 50)) {
      try Corpus(candidates: candidates, calibration: 30, heldOut: 30, source: "a list")
    }
  }

  @Test func missingTextsAreNamed() throws {
    let error = try #require(throws: Corpus.CorpusError.self) {
      try Corpus.wordNet(folder: URL(filePath: "/no/such/folder"))
    }
    #expect(error.description.contains("wordnet-base"))
    try withTemporaryFolder { folder in
      let url = folder.appending(path: "text")
      #expect(throws: Corpus.CorpusError.self) { try Corpus.lines(url) }
      try Data([0xFF]).write(to: url)
      #expect(throws: Corpus.CorpusError.self) { try Corpus.lines(url) }
      try Data(" one\r\n\n two \n".utf8).write(to: url)
      #expect(try Corpus.lines(url) == ["one", "two"])
    }
  }

  @Test(.enabled(if: hasWordNet, "Debian's package wordnet-base is not installed"))
  func wordNetHoldsEnoughSentences() throws {
    let corpus = try Corpus.wordNet()
    #expect(corpus.calibration.count == 2000 && corpus.heldOut.count == 1000)
    #expect(Set(corpus.calibration).isDisjoint(with: corpus.heldOut))
    #expect((corpus.calibration + corpus.heldOut).allSatisfy { $0.split(separator: " ").count > 3 })
  }

  // MARK: - Files that Python reads

  @Test(.enabled(if: hasSafetensors, "the Python package safetensors is not installed"))
  func theReferenceImplementationReadsWhatIsWritten() throws {
    try withTemporaryFolder { folder in
      let url = folder.appending(path: "model.safetensors")
      try save(
        arrays: [
          "ü \"x\"": MLXArray([1, 2, 3, 4, 5, 6] as [Float], [2, 3]),
          "half": MLXArray([0.5, 0.25] as [Float]).asType(.bfloat16),
          "index": MLXArray([1, 2, 3] as [UInt8]), "empty": MLXArray.zeros([0, 4]),
        ], metadata: ["format": "pt"], url: url)
      let answer = try PythonInterpreter.find().run(
        """
        import json, sys
        from safetensors import safe_open
        with safe_open(sys.argv[1], framework="np") as file:
            views = {name: file.get_slice(name) for name in file.keys()}
            print(json.dumps({name: [view.get_dtype(), view.get_shape()]
                              for name, view in sorted(views.items())}, ensure_ascii=False))
            print(json.dumps(file.metadata()), file.get_tensor('ü "x"').sum())
        """, arguments: [url.path], input: [], task: "read")
      #expect(
        String(decoding: answer, as: UTF8.self) == """
          {"empty": ["F32", [0, 4]], "half": ["BF16", [2]], "index": ["U8", [3]], \
          "ü \\"x\\"": ["F32", [2, 3]]}
          {"format": "pt"} 21.0

          """)
    }
  }
}
