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
      unless --separately is given. Those of language models are for layers with rows=batch.
      """)

  @Argument(help: "A Hugging Face folder; for texts with its tokenizer.json.")
  var model: String

  @Option(help: "Products a pair of tiles.")
  var rank: Int

  @Option(help: "The side of a tile.")
  var tile = 4

  @Option(
    help: ArgumentHelp("The encoder to start from. Default: the library's best.", valueName: "name")
  )
  var encoder: String?

  @Option(help: "The share of white inputs in the norm. Default: from the number of tiles.")
  var shrinkage: Double?

  @Flag(help: "Encoders for each layer alone.")
  var separately = false

  @Option(
    help: ArgumentHelp(
      "Write the parameters as <layer>.stl.{weight,encoder,decoder}, and <layer>.bias where it has one.",
      valueName: "file.safetensors"))
  var output: String?

  @OptionGroup var fit: LayerFitOptions
  @OptionGroup var printing: OutputOptions

  func validate() throws {
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
    try Interruption.watch()
    let line = ProgressLine()
    let made = try LayerEncoderReport.run(
      folder: URL(filePath: model), layers: fit.patterns,
      options: .init(
        encoder: start, alternations: fit.alternations, separately: separately,
        shrinkage: shrinkage),
      on: fit.examples.source()
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
