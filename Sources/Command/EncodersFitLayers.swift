import ArgumentParser
import Foundation
import Tessera

struct EncodersFitLayers: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fit-layers",
    abstract:
      "Make encoders for a model's layers on its real inputs, shared where layers read one.",
    discussion: """
      Layers that read the same input, such as query, key and value, get one encoder and decoder, \
      unless --separately is given.
      """)

  @Argument(help: "A Hugging Face folder: config.json, model.safetensors, tokenizer.json.")
  var model: String

  @Option(
    help: ArgumentHelp("Layers by path ('*' and '?'); may be given again.", valueName: "pattern"))
  var layers: [String]

  @Option(help: "Products a pair of tiles.")
  var rank: Int

  @Option(help: "The side of a tile.")
  var tile = 4

  @Option(
    help: ArgumentHelp("The encoder to start from. Default: the library's best.", valueName: "name")
  )
  var encoder: String?

  @Option(help: "How often encoder, decoder and weight take turns.")
  var alternations = 4

  @Option(help: "The share of white inputs in the norm. Default: from the number of tiles.")
  var shrinkage: Double?

  @Flag(help: "Encoders for each layer alone.")
  var separately = false

  @Option(
    help: ArgumentHelp(
      "Write the parameters as <layer>.stl.{weight,encoder,decoder} and <layer>.bias.",
      valueName: "file.safetensors"))
  var output: String?

  @OptionGroup var corpus: CorpusOptions
  @OptionGroup var printing: OutputOptions

  func validate() throws {
    if layers.isEmpty { throw ValidationError("expected at least one --layers, got none.") }
    guard alternations >= 0, alternations <= 1000 else {
      throw ValidationError("expected --alternations of 0 to 1000, got \(alternations).")
    }
    if let shrinkage, !(0...1).contains(shrinkage) {
      throw ValidationError("expected --shrinkage of 0 to 1, got \(shrinkage).")
    }
  }

  func run() throws {
    let start = try encoder.map { try Encoder.named($0) } ?? Encoder.best(tile: tile, rank: rank)
    guard start.tile == tile, start.rank == rank else {
      throw StrassenTileError.encoder(start, tile: tile, rank: rank)
    }
    try output.map(checkWritable)
    let corpus = try corpus.corpus()
    try Interruption.watch()
    let line = ProgressLine()
    let made = try LayerEncoderReport.run(
      folder: URL(filePath: model), layers: layers.map { LayerPattern($0) },
      options: .init(
        encoder: start, alternations: alternations, separately: separately, shrinkage: shrinkage),
      corpus: corpus
    ) { progress in
      line.show(progress.stage, progress.completed, progress.total, progress.detail)
      try Interruption.check()
    }
    if let output { try save(arrays: made.parameters, url: URL(filePath: output)) }
    try printing.print(made.report) {
      ([made.report.table] + [output.map { "written: \($0)" }].compactMap(\.self))
        .joined(separator: "\n")
    }
  }
}
