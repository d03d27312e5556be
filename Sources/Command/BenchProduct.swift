import ArgumentParser
import Tessera

struct BenchProduct: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "product",
    abstract: "Multiply two matrices neither of which is a weight: predicted and measured error.")

  @Option(help: ArgumentHelp("Rows, inner size and columns.", valueName: "MxKxN"))
  var shape = "512x512x512"

  @Option(
    help: ArgumentHelp("An encoder of the library; give several to compare.", valueName: "name"))
  var encoder = ["fitted-4-24", "fitted-4-32", "fitted-4-40", "fitted-4-47", "rank48-accurate"]

  @Option(help: "Operands: gaussian, positive or smooth; give several. Default: all.")
  var inputs = ProductBenchmark.Inputs.allCases

  @Option(help: "Element type: f32, bf16 or f16.")
  var dtype = DType.float32

  @Option(help: "Where to compute: cpu or gpu. Default: the GPU where there is one.")
  var device: Device?

  @Option(help: "Seeds of random signs and permutations.")
  var seeds = 8

  @OptionGroup var printing: OutputOptions

  func validate() throws {
    guard seeds > 0, seeds <= 1 << 16 else {
      throw ValidationError("expected --seeds of 1 to \(1 << 16), got \(seeds).")
    }
    _ = try sizes(in: shape, count: 3, example: "512x768x3072")
  }

  func run() throws {
    let sizes = try sizes(in: shape, count: 3, example: "512x768x3072")
    if let device { try Device.setDefault(device) }
    let benchmark = try ProductBenchmark.run(
      rows: sizes[0], inner: sizes[1], columns: sizes[2],
      encoders: try encoder.map { try Encoder.named($0) }, inputs: inputs, dtype: dtype,
      seeds: seeds)
    try printing.print(benchmark) { benchmark.table }
  }
}

extension ProductBenchmark.Inputs: ExpressibleByArgument {}

/// Sizes written as `MxKxN`.
func sizes(in text: String, count: Int, example: String) throws -> [Int] {
  let sizes = text.split(separator: "x", omittingEmptySubsequences: false).compactMap { Int($0) }
  guard sizes.count == count, sizes.allSatisfy({ $0 > 0 && $0 <= 1 << 20 }) else {
    throw ValidationError("expected sizes of 1 to \(1 << 20), such as \(example), got '\(text)'.")
  }
  return sizes
}
