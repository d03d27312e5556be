import ArgumentParser
import Tessera

struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "What this machine has, what is missing, and how to get it.",
    discussion: "Ctrl-C and SIGTERM end --check after the case under way, with what was checked.")

  @Flag(help: "Compare every kernel with its definition; a minute on a CPU, some on a GPU.")
  var check = false

  @Option(
    help: ArgumentHelp("With --check: the cases whose name has this in it.", valueName: "text"))
  var only: String?

  @OptionGroup var printing: OutputOptions

  func validate() throws {
    if only != nil, !check {
      throw ValidationError("expected --check with --only, got --only alone.")
    }
  }

  func run() throws {
    guard check else {
      let diagnosis = Diagnosis()
      return try printing.print(diagnosis) { diagnosis.table }
    }
    try Interruption.watch()
    let line = ProgressLine()
    let check = try KernelChecks(
      only: only, progress: { line.show("check", $0, $1, $2) },
      isStopRequested: { Interruption.isRequested })
    try printing.print(check) { check.table }
    if Interruption.isRequested { try Interruption.end("; what was checked is above.") }
    if !check.isPassed { throw ExitCode.failure }
  }
}
