import ArgumentParser
import Foundation
import Tessera

struct BenchFit: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fit",
    abstract: "Fit structures to a model's layers without training and compare them at equal cost.")

  @Argument(help: "A Hugging Face folder: config.json, model.safetensors, tokenizer.json.")
  var model: String

  @Option(
    help: ArgumentHelp(
      "Layers by path ('*' and '?'); may be given again.", valueName: "pattern"))
  var layers = ["encoder.layer.0.attention.*"]

  @Option(help: ArgumentHelp("Ranks of Strassen-Tile with tile 4.", valueName: "R"))
  var rank = [16, 24, 32, 40, 44, 47]

  @Option(help: "How often encoder, decoder and weight take turns.")
  var alternations = 4

  @OptionGroup var corpus: CorpusOptions
  @OptionGroup var printing: OutputOptions

  func validate() throws {
    guard alternations >= 0, alternations <= 1000 else {
      throw ValidationError("expected --alternations of 0 to 1000, got \(alternations).")
    }
  }

  func run() throws {
    let corpus = try corpus.corpus()
    try Interruption.watch()
    let line = ProgressLine()
    let benchmark = try FitBenchmark.run(
      folder: URL(filePath: model), layers: layers.map { LayerPattern($0) }, ranks: rank,
      corpus: corpus, alternations: alternations
    ) { progress in
      line.show(progress.stage, progress.completed, progress.total, progress.detail)
      try Interruption.check()
    }
    try printing.print(benchmark) { benchmark.table }
  }
}
