import ArgumentParser
import Tessera

struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "What this machine has, what is missing, and how to get it.")

  @OptionGroup var printing: OutputOptions

  func run() throws {
    let diagnosis = Diagnosis()
    try printing.print(diagnosis) { diagnosis.table }
  }
}
