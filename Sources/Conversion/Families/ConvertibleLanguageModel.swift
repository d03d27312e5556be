import Foundation
import MLX
import Models
import Training

/// A causal language model: examples are windows of T tokens, results are the logits of the next.
final class ConvertibleLanguageModel: LogitModel {
  static let amounts = ConversionAmounts(
    unit: "windows", fitted: 128, probed: 8, timed: 4, judged: 1)

  let checkpoint: any Checkpoint
  let model: any StagedModel
  private let languageModel: any LanguageModel

  init?(_ checkpoint: any Checkpoint) throws {
    guard let languageModel = checkpoint.module as? any LanguageModel,
      let model = checkpoint.module as? any StagedModel
    else { return nil }
    self.checkpoint = checkpoint
    (self.model, self.languageModel) = (model, languageModel)
  }

  // MARK: - Examples

  /// Tokens of a window where nothing is said: more cost memory, and logits the most of it.
  private static let defaultLength = 256
  /// Logits of a batch where nothing is said.
  private static let logitLimit = 1 << 26

  private func shape(_ source: ExampleSource) throws -> (length: Int, batch: Int) {
    let limit = languageModel.maximumLength
    let length = source.length ?? min(limit, Self.defaultLength)
    guard (1...limit).contains(length) else {
      throw ConversionError(
        "[tokens] expected windows of 1 to \(limit) tokens, which the model takes, got \(length).")
    }
    // Four at least: tiles across a batch have four rows.
    let fitting = Self.logitLimit / (length * languageModel.vocabularySize)
    return (length, source.batch ?? max(4, min(8, fitting)))
  }

  func data(from source: ExampleSource) throws -> ConversionData {
    let (length, batch) = try shape(source)
    let heldOut: any BatchSource
    let calibration: any BatchSource
    if source.isFolder, let url = source.url {
      let set = try tokenSet(url)
      calibration = try set.tokens(.train, length: length)
      heldOut = try set.tokens(.validation, length: length)
    } else if let url = source.url {
      let windows = try windows(of: tokens(of: [Self.text(url)]), length: length)
      let count = windows.inputs.dim(0)
      // The end of the text is kept apart.
      let judged = min(source.heldOut ?? min(64, max(1, count / 5)), count - 1)
      guard judged > 0 else {
        throw ConversionError(
          "[convert] expected a text of two or more windows of \(length) tokens, got \(count) in "
            + "\(url.path(percentEncoded: false)); give a longer text, or fewer --tokens.")
      }
      calibration = try Self.source(windows, 0..<count - judged)
      heldOut = try Self.source(windows, count - judged..<count)
    } else {
      let corpus = try Corpus.wordNet(calibration: 20_000, heldOut: 4000)
      let parts = try [corpus.calibration, corpus.heldOut].map { texts in
        let windows = try windows(
          of: tokens(of: [texts.joined(separator: "\n")]), length: length)
        return try Self.source(windows, 0..<windows.inputs.dim(0))
      }
      (calibration, heldOut) = (parts[0], parts[1])
    }
    return ConversionData(
      calibration: Examples(calibration, limit: source.calibration, batch: batch),
      heldOut: Examples(heldOut, limit: source.heldOut ?? 64, batch: batch))
  }

  func judged(from source: ExampleSource) throws -> Examples {
    guard let url = source.url else { return try data(from: source).heldOut }
    let (length, batch) = try shape(source)
    let judged: any BatchSource
    if source.isFolder {
      judged = try tokenSet(url).tokens(.validation, length: length)
    } else {
      let windows = try windows(of: tokens(of: [Self.text(url)]), length: length)
      judged = try Self.source(windows, 0..<windows.inputs.dim(0))
    }
    return Examples(judging: judged, limit: source.heldOut, batch: batch)
  }

  private static func text(_ url: URL) throws -> String {
    guard let data = try? Data(contentsOf: url), let text = String(validating: data, as: UTF8.self)
    else { throw Corpus.CorpusError.unreadable(path: url.path(percentEncoded: false)) }
    return text
  }

  private func tokenSet(_ url: URL) throws -> Dataset {
    let set = try Dataset.open(at: url)
    if case .tokens(let size, _) = set.header.kind, size > languageModel.vocabularySize {
      throw ConversionError(
        "[tokens] expected at most the \(languageModel.vocabularySize) tokens of the model, got a "
          + "set with \(size); prepare it with the model's tokenizer.")
    }
    return set
  }

  /// The tokens of texts one after the other.
  ///
  /// A long text goes to the tokenizer in pieces that end with a line.
  private func tokens(of texts: [String]) throws -> [Int32] {
    var pieces: [String] = []
    for text in texts {
      var rest = text[...]
      while !rest.isEmpty {
        var end =
          rest.utf8.index(
            rest.startIndex, offsetBy: 1 << 16, limitedBy: rest.endIndex) ?? rest.endIndex
        if end < rest.endIndex {
          end =
            rest[end...].firstIndex { $0.isNewline }.map { rest.index(after: $0) }
            ?? rest.endIndex
        }
        pieces.append(String(rest[..<end]))
        rest = rest[end...]
      }
    }
    // Nothing is cut off: windows are made here.
    let tokenizer = try Tokenizer(folder: checkpoint.folder.url, maximumLength: 1 << 24)
    return try tokenizer.tokens(of: pieces).flatMap(\.self)
  }

  /// Inputs and targets [windows, T], the targets one token further; the last tokens, fewer than a
  /// window, are left out.
  private func windows(
    of tokens: [Int32], length: Int
  ) throws -> (inputs: MLXArray, targets: MLXArray) {
    let count = (tokens.count - 1) / length
    guard count > 0 else {
      throw ConversionError(
        "[tokens] expected more than \(length) tokens, the length of a window, got "
          + "\(tokens.count); give a longer text, or fewer --tokens.")
    }
    try checkTokens(tokens, vocabularySize: languageModel.vocabularySize)
    func rows(_ first: Int) -> MLXArray {
      MLXArray(Array(tokens[first..<first + count * length]), [count, length])
    }
    return (rows(0), rows(1))
  }

  private static func source(
    _ windows: (inputs: MLXArray, targets: MLXArray), _ range: Range<Int>
  ) throws -> ArraySource {
    try ArraySource(inputs: windows.inputs[range], targets: windows.targets[range])
  }

  // MARK: - Measures

  func fidelity(_ measures: LogitMeasures) -> Fidelity { measures.languageFidelity }

  func checkOutputs(like other: ConvertibleLanguageModel) throws {
    let (ours, theirs) = (languageModel.vocabularySize, other.languageModel.vocabularySize)
    guard ours != theirs else { return }
    throw ConversionError(
      "[evaluate] expected a model of the same \(ours) tokens, got one of \(theirs).")
  }
}
