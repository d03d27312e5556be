import ArgumentParser
import Tessera

struct BenchGaussNewton: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "gauss-newton",
    abstract: "Measure Gauss-Newton against AdamW on a two-layer ReLU network.")

  @Option(help: "Inputs of the network.")
  var inputs = 16

  @Option(
    parsing: .upToNextOption,
    help: "Widths of the hidden layer, each measured with the first number of examples.")
  var widths = [1024, 2048, 4096, 8192]

  @Option(
    parsing: .upToNextOption,
    help: "Numbers of examples, each measured with the first width.")
  var examples = [128, 256, 512]

  @Option(help: "Steps of Gauss-Newton.")
  var steps = 6

  @Option(parsing: .upToNextOption, help: "AdamW's learning rates.")
  var rates = [0.003, 0.01, 0.03, 0.1]

  @Option(help: "Seed of data and weights.")
  var seed: UInt64 = 0

  @OptionGroup var printing: OutputOptions

  func validate() throws {
    let sizes = widths + examples + [inputs, steps]
    guard !widths.isEmpty, !examples.isEmpty, sizes.allSatisfy({ (1...(1 << 16)).contains($0) })
    else {
      throw ValidationError("expected sizes and steps of 1 to \(1 << 16).")
    }
    guard rates.allSatisfy({ $0 > 0 && $0.isFinite }) else {
      throw ValidationError("expected learning rates above 0.")
    }
  }

  /// What was measured, and on what.
  private struct Document: Encodable {
    let machine = MachineSheet.current()
    let result: GaussNewtonBenchmark
  }

  func run() throws {
    try Interruption.watch()
    let line = ProgressLine()
    let benchmark = try GaussNewtonBenchmark.run(
      inputs: inputs, widths: widths, examples: examples, steps: steps, rates: rates, seed: seed
    ) { stage, completed, total in
      line.show(stage, completed, total, nil)
      try Interruption.check()
    }
    let document = Document(result: benchmark)
    try printing.print(document) { document.machine.summary + "\n\n" + benchmark.text }
  }
}
