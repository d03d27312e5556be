import ArgumentParser
import Foundation
import Tessera

struct DataCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "data",
    abstract: "Prepare real data for training: memory-mapped, checked, split honestly.",
    subcommands: [DataText.self, DataImages.self, DataVerify.self])
}

/// Where a prepared set goes.
struct PreparationOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The folder to write.", valueName: "folder"))
  var out: String

  @Flag(help: "Replace the folder if it is a prepared set.")
  var force = false

  @OptionGroup var printing: OutputOptions

  /// Runs a preparation with progress.
  func run<Report: Encodable>(
    _ write: (URL, (DataProgress) throws -> Void) throws -> Report, text: (Report) -> String
  ) throws {
    let target = URL(filePath: out)
    try Dataset.checkTarget(target, replacingExisting: force)
    try Interruption.watch()
    let line = ProgressLine()
    var last: DataProgress?
    let report = try write(target) { progress in
      if progress != last {
        line.show(progress.stage, progress.completed, progress.total, progress.detail)
      }
      last = progress
      try Interruption.check()
    }
    try printing.print(report) { text(report) + "\nwritten: \(out)" }
  }
}

struct DataText: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "text",
    abstract: "Turn texts into tokens: split by document, no paragraph twice.")

  @Argument(help: "Files and folders of text, HTML, man pages, POD; also with .gz.")
  var sources: [String]

  @Option(
    help: ArgumentHelp("A tokenizer.json, or a folder that has one.", valueName: "file"))
  var tokenizer: String?

  @Option(
    help: ArgumentHelp("Train a byte-level BPE of so many tokens.", valueName: "tokens"))
  var trainVocabulary: Int?

  @Option(help: ArgumentHelp("Share of the documents for validation.", valueName: "share"))
  var validation = 0.02

  @OptionGroup var options: PreparationOptions

  func validate() throws {
    guard (tokenizer == nil) != (trainVocabulary == nil) else {
      throw ValidationError("expected --tokenizer or --train-vocabulary, one of the two.")
    }
    if let trainVocabulary, !(257...(1 << 20)).contains(trainVocabulary) {
      throw ValidationError(
        "expected --train-vocabulary of 257 to \(1 << 20), got \(trainVocabulary).")
    }
    guard validation > 0, validation <= 0.5 else {
      throw ValidationError("expected --validation above 0 and to 0.5, got \(validation).")
    }
  }

  func run() throws {
    let preparation = TextPreparation(
      sources: sources.map { URL(filePath: $0) }, vocabulary: vocabulary, validation: validation)
    try options.run {
      try preparation.write(to: $0, progress: $1)
    } text: { report in
      """
      \(report.files) files, \(report.repeatedParagraphs) repeated paragraphs left out, \
      \(report.vocabulary) tokens in the vocabulary
      train: \(report.train.documents) documents, \(report.train.characters) characters, \
      \(report.train.tokens) tokens
      validation: \(report.validation.documents) documents, \(report.validation.characters) \
      characters, \(report.validation.tokens) tokens
      """
    }
  }

  private var vocabulary: TextPreparation.Vocabulary {
    if let trainVocabulary { return .trained(size: trainVocabulary) }
    let url = URL(filePath: tokenizer ?? "")
    var isFolder: ObjCBool = false
    let exists = FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder)
    return .tokenizer(exists && isFolder.boolValue ? url.appending(path: "tokenizer.json") : url)
  }
}

extension ImagePreparation.Source: ExpressibleByArgument {}

struct DataImages: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "images",
    abstract: "Draw fonts, or decode pictures, into images of one size with classes.")

  @Argument(help: "Folders of fonts; a folder of CIFAR's binary version; a folder of classes.")
  var sources: [String]

  @Option(help: "What the sources are: fonts, cifar or folders.")
  var from: ImagePreparation.Source

  @Option(help: ArgumentHelp("Sides of the images in pixels.", valueName: "pixels"))
  var size = 32

  @Option(
    help: ArgumentHelp(
      "Share for validation, where the source has no such part.", valueName: "share"))
  var validation = 0.1

  @OptionGroup var options: PreparationOptions

  func validate() throws {
    guard (8...512).contains(size) else {
      throw ValidationError("expected --size of 8 to 512, got \(size).")
    }
    guard validation > 0, validation <= 0.5 else {
      throw ValidationError("expected --validation above 0 and to 0.5, got \(validation).")
    }
  }

  func run() throws {
    let preparation = ImagePreparation(
      sources: sources.map { URL(filePath: $0) }, kind: from, size: size, validation: validation)
    try options.run {
      try preparation.write(to: $0, progress: $1)
    } text: { report in
      let shape = report.shape.map(String.init).joined(separator: "x")
      var lines = [
        "\(report.classes) classes, images of \(shape), \(report.skipped) sources skipped",
        "train: \(report.train) images",
        "validation: \(report.validation) images",
      ]
      if let faces = report.facts["faces"], let groups = report.facts["groups"] {
        for index in faces.indices {
          lines[index + 1] += ", \(Int(faces[index])) faces in \(Int(groups[index])) groups"
        }
      }
      return lines.joined(separator: "\n")
    }
  }
}

struct DataVerify: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify", abstract: "Read every byte of a prepared set and compare checksums.")

  @Argument(help: "A prepared set.")
  var folder: String

  func run() throws {
    try Dataset.open(at: URL(filePath: folder)).verify()
    print("whole: \(folder)")
  }
}
