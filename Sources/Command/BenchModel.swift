import ArgumentParser
import Tessera

struct BenchModel: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "model",
    abstract:
      "Measure a whole model, dense and with structures: latency, throughput, memory, energy.")

  @Argument(
    help: ArgumentHelp(
      "A Hugging Face folder, or a shape with random weights: "
        + ModelShape.allCases.map(\.rawValue).joined(separator: ", ") + "."))
  var model: String

  @Option(help: "Another folder or shape to measure beside it.")
  var against: String?

  @Option(
    help: ArgumentHelp(
      "A structure for the layers, with random weights; give several to compare.",
      valueName: "spec"))
  var to: [String] = []

  @Option(
    help: ArgumentHelp(
      "Layers by path ('*' and '?'); may be given again. Default: all of the stack.",
      valueName: "pattern"))
  var layers: [String] = []

  @Option(help: "Sequences or images.")
  var batch = 8

  @Option(help: "Tokens of a sequence; images have theirs.")
  var tokens = 128

  @Option(help: "Element type: f32, bf16 or f16.")
  var dtype = DType.float32

  @Option(help: "Where to compute: cpu or gpu. Default: the GPU where there is one.")
  var device: Device?

  @OptionGroup var printing: OutputOptions

  func validate() throws {
    for (name, value) in [("batch", batch), ("tokens", tokens)]
    where !(1...1 << 20).contains(value) {
      throw ValidationError("expected --\(name) of 1 to \(1 << 20), got \(value).")
    }
  }

  func run() throws {
    let specs = try to.map { try OperatorSpec(parsing: $0) }
    if let device { try Device.setDefault(device) }
    let benchmark = try ModelBenchmark.run(
      model: ModelSource(model), against: against.map { ModelSource($0) }, specs: specs,
      layers: layers.map { LayerPattern($0) }, batch: batch, tokens: tokens, dtype: dtype)
    try printing.print(benchmark) { benchmark.table }
  }
}
