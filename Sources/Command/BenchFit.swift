import ArgumentParser
import Foundation
import Tessera

struct BenchFit: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fit",
    abstract: "Fit structures to a model's layers without training and compare them at equal cost.")

  @Argument(help: "A Hugging Face folder; for texts with its tokenizer.json.")
  var model: String

  @Option(help: ArgumentHelp("Ranks of Strassen-Tile with tile 4.", valueName: "R"))
  var rank = [16, 24, 32, 40, 44, 47]

  @OptionGroup var fit: LayerFitOptions
  @OptionGroup var printing: OutputOptions

  func run() throws {
    try Interruption.watch()
    let line = ProgressLine()
    let benchmark = try FitBenchmark.run(
      folder: URL(filePath: model), layers: fit.patterns, ranks: rank, on: fit.examples.source(),
      alternations: fit.alternations
    ) { progress in
      line.show(progress.stage, progress.completed, progress.total, progress.detail)
      try Interruption.check()
    }
    try printing.print(benchmark) { benchmark.table }
  }
}
