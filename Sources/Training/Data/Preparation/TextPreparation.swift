import Foundation
import MLX
import Models

/// Texts → a prepared set of tokens.
///
/// Files become documents: one a file, or pieces of about 256 thousand characters where a file is
/// longer. A paragraph of forty letters or more whose letters an earlier paragraph had is left out,
/// whatever its layout and markup: copies of a text, licences, navigation; so nothing that training
/// sees is repeated in validation. The hash of a document's text says which part it belongs to.
public struct TextPreparation: Hashable, Sendable {
  /// Where the tokens come from.
  public enum Vocabulary: Hashable, Sendable {
    /// A Hugging Face `tokenizer.json`.
    case tokenizer(URL)
    /// A byte-level BPE of so many tokens, trained on the training part; where that is longer than
    /// 50 million characters, on every second, third, … of its documents.
    case trained(size: Int)
  }

  /// Files and folders.
  public var sources: [URL]
  /// Where the tokens come from.
  public var vocabulary: Vocabulary
  /// The share of the documents for validation.
  public var validation: Double

  /// Texts of sources with a vocabulary.
  public init(sources: [URL], vocabulary: Vocabulary, validation: Double = 0.02) {
    (self.sources, self.vocabulary, self.validation) = (sources, vocabulary, validation)
  }

  /// What was prepared.
  public struct Report: Codable, Hashable, Sendable {
    /// What a part holds.
    public struct Part: Codable, Hashable, Sendable {
      /// Documents.
      public let documents: Int
      /// Characters of the documents.
      public let characters: Int
      /// Tokens, one separator a document included.
      public let tokens: Int
    }
    /// Text files that were read.
    public let files: Int
    /// Paragraphs left out because an earlier one had the same letters.
    public let repeatedParagraphs: Int
    /// Tokens are below it.
    public let vocabulary: Int
    /// What training sees.
    public let train: Part
    /// What it does not see.
    public let validation: Part
  }

  /// Reads, splits, tokenizes and writes the set; `progress` may throw to stop, and nothing is left.
  ///
  /// Throws ``DatasetError``, ``/Models/PythonInterpreter/PythonError`` or a ``/MLX/FileError``.
  public func write(
    to folder: URL, python: PythonInterpreter? = nil,
    progress: (DataProgress) throws -> Void = { _ in }
  ) throws -> Report {
    let python = try python ?? PythonInterpreter.find()
    for source in sources where !FileManager.default.fileExists(atPath: source.path) {
      throw DatasetError.badSource(
        path: source.path(percentEncoded: false), reason: "there is no such file or folder")
    }
    var report: Report?
    _ = try Dataset.write(to: folder) { folder in
      let job = PythonJob(
        script: "os.chdir(settings[\"folder\"])\n" + TextPreparation.script,
        packages: ["tokenizers"], task: "prepare text")
      let result = try job.run(
        settings: settings(folder), in: folder, python: python, progress: progress)
      guard let vocabulary = result["vocabulary"]?.integer,
        let separator = result["separator"]?.integer, let files = result["files"]?.integer,
        let repeated = result["dropped"]?.integer,
        let train = Report.Part(result["counts"]?["train"]),
        let validation = Report.Part(result["counts"]?["validation"])
      else {
        throw PythonInterpreter.PythonError.failed(
          task: "prepare text", message: "the answer is not whole.")
      }
      report = Report(
        files: files, repeatedParagraphs: repeated, vocabulary: vocabulary, train: train,
        validation: validation)
      let dtype = result["wide"]?.bool == true ? DType.uint32 : .uint16
      func shapes(_ part: Report.Part) -> [String: (dtype: DType, shape: [Int])] {
        ["tokens": (dtype, [part.tokens]), "ends": (.uint64, [part.documents])]
      }
      return (
        .tokens(vocabularySize: vocabulary, separator: separator),
        [.train: shapes(train), .validation: shapes(validation)],
        [
          "files": [Double(files)],
          "characters": [Double(train.characters), Double(validation.characters)],
        ]
      )
    }
    guard let report else {
      throw PythonInterpreter.PythonError.failed(task: "prepare text", message: "no answer.")
    }
    return report
  }

  private func settings(_ folder: URL) -> JSON {
    var tokenizer = ""
    var size = 0
    switch vocabulary {
    case .tokenizer(let file): tokenizer = file.absoluteURL.path(percentEncoded: false)
    case .trained(let count): size = count
    }
    return .object([
      "folder": .string(folder.absoluteURL.path(percentEncoded: false)),
      "sources": .array(sources.map { .string($0.absoluteURL.path(percentEncoded: false)) }),
      "tokenizer": .string(tokenizer), "vocabulary": .integer(size),
      "validation": .double(validation), "paragraph": 40, "shortest": 200, "longest": 262_144,
      "sample": 50_000_000,
    ])
  }
}

extension TextPreparation.Report.Part {
  fileprivate init?(_ json: JSON?) {
    guard let documents = json?["documents"]?.integer,
      let characters = json?["characters"]?.integer, let tokens = json?["tokens"]?.integer
    else { return nil }
    self.init(documents: documents, characters: characters, tokens: tokens)
  }
}
