import Foundation
import MLX
import Models

/// A sentence encoder: examples are texts, results are embeddings.
final class ConvertibleSentenceEncoder: ConvertibleModel {
  static let amounts = ConversionAmounts(
    unit: "texts", fitted: 2000, probed: 128, timed: 32, judged: 3)

  let encoder: SentenceEncoder

  var checkpoint: any Checkpoint { encoder.checkpoint }
  var model: any StagedModel { encoder.model }

  init(_ encoder: SentenceEncoder) {
    self.encoder = encoder
  }

  init?(_ checkpoint: any Checkpoint) throws {
    guard let checkpoint = checkpoint as? BERTCheckpoint else { return nil }
    encoder = try SentenceEncoder(checkpoint)
  }

  /// The lines of a text, or the sentences of WordNet.
  func data(from source: ExampleSource) throws -> ConversionData {
    let heldOut = source.heldOut ?? 1000
    let wanted = source.calibration ?? 20_000
    let corpus: Corpus
    if let url = source.url {
      guard !source.isFolder else {
        throw ConversionError(
          "[convert] expected a text of one sentence a line for a sentence encoder, got the folder "
            + "\(url.path(percentEncoded: false)).")
      }
      let lines = Set(try Corpus.lines(url).map { $0.lowercased() }).count
      corpus = try .text(
        url, calibration: min(wanted, max(1, lines - heldOut)), heldOut: heldOut)
    } else {
      corpus = try .wordNet(calibration: wanted, heldOut: heldOut)
    }
    let tokenizer = try encoder.tokenizer()
    let size = encoder.model.configuration.vocabularySize
    let parts = try [corpus.calibration, corpus.heldOut].map { texts in
      let sequences = try tokenizer.tokens(of: texts)
      try checkTokens(sequences.joined(), vocabularySize: size)
      return Examples(sequences: sequences)
    }
    return ConversionData(calibration: parts[0], heldOut: parts[1])
  }

  func results(of last: MLXArray) -> MLXArray { encoder.head(last) }

  /// The mean of 1 − cosine over the embeddings.
  func divergence(of results: MLXArray, from reference: MLXArray) -> MLXArray {
    let lengths = norm(results, axes: [-1]) * norm(reference, axes: [-1])
    return mean(1 - sum(results * reference, axis: -1) / maximum(lengths, 1e-12))
  }

  func comparison(
    on examples: Examples
  ) throws -> (_ other: any ConvertibleModel) throws -> Fidelity {
    let batches = try examples.batches()
    func embeddings(_ subject: any ConvertibleModel) throws -> MLXArray {
      let rows = try batches.map { batch in
        let rows = subject.results(of: subject.model.run(try batch.inputs()))
        try eval(rows)
        return rows
      }
      return concatenated(rows, axis: 0)
    }
    let reference = try embeddings(self)
    return { try Fidelity(of: embeddings($0), to: reference) }
  }

  /// On lines of a UTF-8 file: texts, or `score <tab> text <tab> text`.
  func evaluation(
    on source: ExampleSource, against other: (any ConvertibleModel)?
  ) throws -> Fidelity {
    guard let url = source.url, !source.isFolder else {
      throw ConversionError(
        "[evaluate] expected a UTF-8 text for a sentence encoder, got "
          + "\(source.url?.path(percentEncoded: false) ?? "none").")
    }
    let lines = try Corpus.lines(url)
    let pairs = lines.compactMap(ScoredPair.init)
    let isScored = pairs.count == lines.count && !lines.isEmpty
    guard isScored || other != nil else {
      throw ConversionError(
        "[evaluate] expected lines of 'score <tab> text <tab> text', or another model to compare "
          + "with, got \(lines.count) plain lines; use --against.")
    }
    let texts = isScored ? pairs.map(\.first) + pairs.map(\.second) : lines
    func embeddings(_ encoder: SentenceEncoder) throws -> MLXArray {
      try encoder.embeddings(TokenBatches(try encoder.tokenizer().tokens(of: texts)))
    }
    let ours = try embeddings(encoder)
    var result = Fidelity(unit: .texts, count: texts.count)
    if let other = other as? ConvertibleSentenceEncoder {
      result = try Fidelity(of: ours, to: embeddings(other.encoder))
    }
    if isScored {
      let (a, b) = (ours[0..<pairs.count], ours[pairs.count...])
      let cosines = sum(a * b, axis: 1) / (norm(a, axes: [1]) * norm(b, axes: [1]))
      result[.scoreCorrelation] = correlation(
        ranks(try cosines.asArray(Float.self)), ranks(pairs.map { Float($0.score) }))
    }
    return result
  }

  private struct ScoredPair {
    var score: Double
    var first: String
    var second: String

    init?(_ line: String) {
      let parts = line.split(separator: "\t").map(String.init)
      guard parts.count == 3, let score = Double(parts[0]), score.isFinite else { return nil }
      (self.score, first, second) = (score, parts[1], parts[2])
    }
  }
}
