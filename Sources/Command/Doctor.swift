import ArgumentParser
import Tessera

struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "What this machine has, what is missing, and how to get it.")

  @Flag(help: "Compare every kernel with its definition; a minute or less.")
  var check = false

  @OptionGroup var printing: OutputOptions

  func run() throws {
    guard check else {
      let diagnosis = Diagnosis()
      return try printing.print(diagnosis) { diagnosis.table }
    }
    let check = try KernelChecks()
    try printing.print(check) { check.table }
    if !check.isPassed { throw ExitCode.failure }
  }
}
