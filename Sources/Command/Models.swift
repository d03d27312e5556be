import ArgumentParser
import Foundation
import Tessera

struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "The linear layers of a model: shapes, parameters, multiply-adds.")

  @Argument(help: "A Hugging Face folder.")
  var model: String

  @OptionGroup var printing: OutputOptions

  func run() throws {
    // Looking at a model that leaks is no use of it.
    let checkpoint = try ModelRegistry.load(
      CheckpointFolder(url: URL(filePath: model)), structuredLayers: .standard(insisting: true),
      readingWeights: false)
    let inspection = Inspection(checkpoint.module)
    try printing.print(inspection) { inspection.table }
  }
}

struct Evaluate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "A model's perplexity, accuracy or agreement with scores; its fidelity to another.")

  @Argument(help: "A Hugging Face folder.")
  var model: String

  @Option(help: "Another folder: how faithful is the first to it?")
  var against: String?

  @Option(
    help: ArgumentHelp(
      "Sentence encoders: UTF-8 lines, texts or 'score <tab> text <tab> text'. Language models: a "
        + "UTF-8 text, or a set of `tessera data text`, of which the validation part counts. "
        + "Images: a set of `tessera data images`, likewise.", valueName: "path"))
  var data: String

  @Option(
    help: ArgumentHelp(
      "Language models and images: windows or images at most. Default: all.", valueName: "examples")
  )
  var limit: Int?

  @OptionGroup var shape: ShapeOptions
  @OptionGroup var printing: OutputOptions

  func validate() throws {
    if let limit, limit < 1 { throw ValidationError("expected --limit above 0, got \(limit).") }
  }

  func run() throws {
    let evaluation = try Evaluation(
      folder: URL(filePath: model), against: against.map { URL(filePath: $0) },
      on: ExampleSource(
        URL(filePath: data), heldOut: limit, length: shape.tokens, batch: shape.batch))
    try printing.print(evaluation) { evaluation.table }
  }
}

struct Densify: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write a converted model back as an ordinary checkpoint.")

  @Argument(help: "A converted folder.")
  var model: String

  @Argument(help: "The folder to write.")
  var output: String

  @Flag(help: "Take the nearest dense layer where a structure has no dense form.")
  var approximate = false

  @Flag(help: "Replace the output folder if it exists.")
  var force = false

  func run() throws {
    let count = try Densification.run(
      folder: URL(filePath: model), to: URL(filePath: output), approximating: approximate,
      replacingExisting: force)
    print("written: \(output), \(count) layers made dense")
  }
}

struct Embed: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "The embedding of each line of a text, as JSON lines or a safetensors file.")

  @Argument(help: "A Hugging Face folder.")
  var model: String

  @Option(help: ArgumentHelp("UTF-8 texts, one a line.", valueName: "file"))
  var data: String

  @Option(
    help: ArgumentHelp(
      "Write [texts, D] as 'embeddings' to a safetensors file instead.", valueName: "file"))
  var output: String?

  func run() throws {
    let encoder = try SentenceEncoder(folder: URL(filePath: model), structuredLayers: .standard)
    let texts = try Corpus.lines(URL(filePath: data))
    let batches = TokenBatches(try encoder.tokenizer().tokens(of: texts))
    let embeddings = try encoder.embeddings(batches)
    if let output {
      try save(arrays: ["embeddings": embeddings], url: URL(filePath: output))
      return
    }
    let jsonEncoder = JSONEncoder()
    for row in 0..<texts.count {
      let line = try jsonEncoder.encode(embeddings[row].asArray(Float.self))
      print(String(decoding: line, as: UTF8.self))
    }
  }
}
