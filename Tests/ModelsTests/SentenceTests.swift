import Foundation
import MLX
import TestSupport
import Testing

@testable import Models

@Suite struct SentenceTests {
  private let hidden = MLXArray([1, 2, 3, -4, 50, 60] as [Float], [1, 3, 2])
  private let mask = MLXArray([true, true, false], [1, 3])

  @Test func poolingSeesOnlyWhatTheMaskShows() throws {
    func vector(_ head: SentenceHead, _ mask: MLXArray?) throws -> [Float] {
      try head(hidden, mask: mask).asArray(Float.self)
    }
    #expect(try vector(SentenceHead(pooling: .mean), mask) == [2, -1])
    #expect(try vector(SentenceHead(pooling: .mean), nil) == [18, 58.0 / 3])
    #expect(try vector(SentenceHead(pooling: .cls), mask) == [1, 2])
    #expect(try vector(SentenceHead(pooling: .max), mask) == [3, 2])
    #expect(try vector(SentenceHead(pooling: .max), nil) == [50, 60])
  }

  @Test func normalisedVectorsHaveLengthOne() throws {
    let vector = try SentenceHead(normalizes: true)(hidden, mask: mask).asArray(Double.self)
    expectClose(vector, [2 / 5.0.squareRoot(), -1 / 5.0.squareRoot()], .roundings(8, of: .float32))
    let zero = SentenceHead(normalizes: true)(MLXArray.zeros([1, 3, 2]))
    #expect(try zero.asArray(Float.self) == [0, 0])
  }

  @Test func theHeadIsReadFromTheFolder() throws {
    try withTemporaryFolder { folder in
      func write(_ name: String, _ text: String) throws {
        let url = folder.appending(path: name)
        try FileManager.default.createDirectory(
          at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: url)
      }
      func modules(_ entries: [(String, String)]) throws {
        let items = entries.map {
          #"{"type":"sentence_transformers.models.\#($0)","path":"\#($1)"}"#
        }
        try write("modules.json", "[\(items.joined(separator: ","))]")
      }
      func refusal() throws -> String {
        try #require(throws: CheckpointError.self) { try SentenceHead(folder: folder, limit: 512) }
          .description
      }
      #expect(try SentenceHead(folder: folder, limit: 512) == SentenceHead())
      try write("sentence_bert_config.json", #"{"max_seq_length": 256}"#)
      #expect(try SentenceHead(folder: folder, limit: 512).maximumLength == 256)
      #expect(try SentenceHead(folder: folder, limit: 100).maximumLength == 100)
      try modules([("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")])
      #expect(try refusal().contains("1_Pooling"))
      try write("1_Pooling/config.json", #"{"pooling_mode_cls_token": true}"#)
      #expect(
        try SentenceHead(folder: folder, limit: 512)
          == SentenceHead(pooling: .cls, normalizes: true, maximumLength: 256))
      try write("1_Pooling/config.json", #"{"pooling_mode_lasttoken": true}"#)
      #expect(try refusal().contains("pooling_mode_lasttoken"))
      try write("1_Pooling/config.json", #"{"pooling_mode_mean_tokens": "yes"}"#)
      #expect(try refusal().contains("true or false"))
      try modules([("Transformer", ""), ("Dense", "2_Dense")])
      #expect(try refusal().contains("Dense"))
      try modules([("Pooling", "../outside")])
      #expect(try refusal().contains("inside the model"))
    }
  }

  @Test func embeddingsComeInTheOrderOfTheSentences() throws {
    let encoder = try SentenceEncoder(folder: Golden.url("bert-odd"))
    let sequences: [[Int32]] = [[2, 40, 41, 3], [2, 3], [2, 50, 51, 3], [2, 60, 3]]
    let together = try encoder.embeddings(TokenBatches(sequences))
    #expect(together.shape == [4, 39])
    for (index, tokens) in sequences.enumerated() {
      let alone = try encoder(BERTInput(tokens: [tokens]))
      try expectClose(together[index], alone[0], .roundings(64, of: .float32))
    }
    #expect(try encoder.embeddings(TokenBatches([])).shape == [0, 39])
    #expect(throws: TokenInputError.self) {
      try encoder.embeddings(TokenBatches([[2, 3], [2, 1000, 3]]))
    }
  }

  @Test(.enabled(if: MiniLM.folder != nil, MiniLM.missing))
  func embeddingsOfMiniLMAgreeWithTransformers() throws {
    let golden = try Golden.document("minilm.json")
    let numbers = { (key: String) in
      try #require(golden[key]?.array).map { try #require($0.array).compactMap(\.double) }
    }
    let sentences = try #require(golden["sentences"]?.array).compactMap(\.string)
    let encoder = try SentenceEncoder(folder: #require(MiniLM.folder))
    #expect(
      encoder.head == SentenceHead(pooling: .mean, normalizes: true, maximumLength: 256))
    let tokens = try encoder.tokenizer().tokens(of: sentences)
    #expect(tokens == (try numbers("tokens").map { $0.map { Int32($0) } }))
    let embeddings = try encoder.embeddings(TokenBatches(tokens))
    #expect(embeddings.shape == [sentences.count, 384])
    expectClose(
      try embeddings.asArray(Double.self), try numbers("embeddings").flatMap(\.self),
      .absolute(1e-4))
  }
}
