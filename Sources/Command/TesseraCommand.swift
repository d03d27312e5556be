import ArgumentParser
import Tessera

@main
struct TesseraCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tessera",
    abstract: "Makes neural networks cheaper by replacing their dense linear layers.",
    subcommands: [
      Doctor.self, Inspect.self, Convert.self, SweepCommand.self, Evaluate.self, Densify.self,
      Embed.self, Bench.self, EncodersCommand.self,
    ])
}
