import ArgumentParser
import Tessera

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure structures against dense layers on this machine.",
    subcommands: [
      BenchLayer.self, BenchFactors.self, BenchModel.self, BenchProduct.self, BenchFit.self,
      BenchGaussNewton.self,
    ])
}

struct BenchLayer: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "layer", abstract: "Measure one layer: every path beside the dense product.")

  @Option(help: ArgumentHelp("Rows, inputs and outputs.", valueName: "MxKxN"))
  var shape: String

  @Option(help: ArgumentHelp("A structure; give several to compare.", valueName: "spec"))
  var to: [String]

  @Option(help: "Element type: f32, bf16 or f16.")
  var dtype = DType.float32

  @Option(help: "Where to compute: cpu or gpu. Default: the GPU where there is one.")
  var device: Device?

  @Flag(help: "Measure the gradients of input and parameters too.")
  var backward = false

  @Flag(help: "With --backward: those of Strassen-Tile's encoder and decoder too.")
  var bases = false

  @OptionGroup var printing: OutputOptions

  private var sizes: [Int] {
    get throws {
      let sizes = shape.split(separator: "x").compactMap { Int($0) }
      guard sizes.count == 3, sizes.allSatisfy({ $0 > 0 && $0 <= 1 << 20 }) else {
        throw ValidationError(
          "expected three sizes of 1 to \(1 << 20), such as 512x768x3072, got '\(shape)'.")
      }
      return sizes
    }
  }

  func run() throws {
    let sizes = try sizes
    if let device { try Device.setDefault(device) }
    let benchmark = try LayerBenchmark.run(
      rows: sizes[0], inputs: sizes[1], outputs: sizes[2],
      specs: try to.map { try OperatorSpec(parsing: $0) }, dtype: dtype, backward: backward,
      bases: bases)
    try printing.print(benchmark) { benchmark.table }
  }
}
