import Foundation
import MLX
import Models
import Reports

/// What a sentence encoder is worth on a file of texts.
public struct Evaluation: Codable, Sendable {
  /// The fidelity to another model, if one was given.
  public var fidelity: Fidelity?
  /// Spearman's correlation between the cosine of two texts and their score, if the file has
  /// scores.
  public var scoreCorrelation: Double?
  /// Texts in the file.
  public var texts: Int

  /// Evaluates a model on the lines of a UTF-8 file: texts, or `score <tab> text <tab> text`.
  ///
  /// Throws a sentence if there is nothing to compare with: neither another model nor scores.
  public init(folder: URL, against other: URL?, data: URL) throws {
    let lines = try Corpus.lines(data)
    let pairs = lines.compactMap(ScoredPair.init)
    let isScored = pairs.count == lines.count && !lines.isEmpty
    guard isScored || other != nil else {
      throw ConversionError(
        "[evaluate] expected lines of 'score <tab> text <tab> text', or another model to compare "
          + "with, got \(lines.count) plain lines; use --against.")
    }
    let texts = isScored ? pairs.map(\.first) + pairs.map(\.second) : lines
    self.texts = texts.count
    let encoder = try SentenceEncoder(folder: folder, structuredLayers: .standard)
    let batches = TokenBatches(try encoder.tokenizer().tokens(of: texts))
    let embeddings = try encoder.embeddings(batches)
    if let other {
      let reference = try SentenceEncoder(folder: other, structuredLayers: .standard)
      let batches = TokenBatches(try reference.tokenizer().tokens(of: texts))
      fidelity = try Fidelity(of: embeddings, to: reference.embeddings(batches))
    }
    if isScored {
      let (a, b) = (embeddings[0..<pairs.count], embeddings[pairs.count...])
      let cosines = sum(a * b, axis: 1) / (norm(a, axes: [1]) * norm(b, axes: [1]))
      scoreCorrelation = correlation(
        ranks(try cosines.asArray(Float.self)), ranks(pairs.map { Float($0.score) }))
    }
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

  /// The figures as text.
  public var table: String {
    var table = TextTable(["\(texts) texts", ""])
    if let fidelity {
      table.append(["mean cosine to the other model", decimal(fidelity.cosine, places: 4)])
      table.append(["worst cosine", decimal(fidelity.worstCosine, places: 4)])
      table.append([
        "rank correlation of similarities", decimal(fidelity.rankCorrelation, places: 4),
      ])
      table.append(["same nearest neighbour", decimal(fidelity.neighbourAgreement, places: 4)])
    }
    if let scoreCorrelation {
      table.append(["rank correlation with the scores", decimal(scoreCorrelation, places: 4)])
    }
    return table.description
  }
}
