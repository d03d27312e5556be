import ArgumentParser
import Foundation
import Tessera

struct BenchFactors: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "factors",
    abstract: "Measure Kronecker-sparse factors by every method, beside the usual ways and dense.",
    discussion: "Ctrl-C and SIGTERM end it after the pattern under way, with what was measured.")

  @Option(help: "A file of patterns AxBxCxD, one a line; '#' begins a comment.")
  var patterns: String

  @Option(help: "Rows.")
  var batch: Int

  @Option(help: "Element type: f32, bf16 or f16. MLX_ENABLE_TF32=0 forbids TF32 for f32.")
  var dtype = DType.float32

  @Option(help: "Where the rows of the batch lie: first or last.")
  var layout = FactorLayout.first

  @Option(help: "Where to compute: cpu or gpu. Default: the GPU where there is one.")
  var device: Device?

  @Option(
    help: "Seconds over which the energy of the method taken and of the best rival is read; 0: not."
  )
  var energy = 0.3

  @OptionGroup var printing: OutputOptions

  func validate() throws {
    guard (1...1 << 24).contains(batch) else {
      throw ValidationError("expected --batch of 1 to \(1 << 24), got \(batch).")
    }
    guard (0...60).contains(energy) else {
      throw ValidationError("expected --energy of 0 to 60 seconds, got \(energy).")
    }
  }

  func run() throws {
    let list = try FactorBenchmark.patterns(contentsOf: URL(filePath: patterns))
    if let device { try Device.setDefault(device) }
    try Interruption.watch()
    let line = ProgressLine()
    let benchmark = try FactorBenchmark.run(
      list, rows: batch, dtype: dtype, layout: layout, energySeconds: energy,
      progress: { line.show("measure", $0, $1, $2) },
      isStopRequested: { Interruption.isRequested })
    try printing.print(benchmark) { benchmark.table }
    if Interruption.isRequested {
      try Interruption.end(" after \(benchmark.patterns.count) of \(list.count) patterns.")
    }
  }
}

extension FactorLayout: ExpressibleByArgument {}
