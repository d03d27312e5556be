import ArgumentParser
import Foundation
import Tessera

@main
struct TesseraCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tessera",
    abstract: "Makes neural networks cheaper by replacing their dense linear layers.",
    subcommands: [
      Doctor.self, Inspect.self, Convert.self, SweepCommand.self, Evaluate.self, Densify.self,
      Embed.self, Generate.self, Train.self, StudyCommand.self, DataCommand.self, Bench.self,
      EncodersCommand.self,
    ])

  static func main() {
    CPU.restartForBLAS()
    Memory.keepFreed()
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let interruption as Interruption {
      FileHandle.standardError.write(Data("Error: \(interruption)\n".utf8))
      Foundation.exit(Interruption.exitCode)
    } catch {
      exit(withError: error)
    }
  }
}
