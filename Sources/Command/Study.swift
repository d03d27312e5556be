import ArgumentParser
import Foundation
import Tessera

struct StudyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "study",
    abstract: "Run a grid of trainings from one file, and chart what came of them.",
    subcommands: [StudyRun.self, StudyReport.self], defaultSubcommand: StudyRun.self)
}

struct StudyRun: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Train what is left of a study: tessera study FILE.",
    discussion: """
      A run that has ended is not repeated, so that a study that was stopped goes on. One that fails \
      is a row that says why. Ctrl-C ends the runs under way, with their checkpoints where the recipe \
      keeps any. The results are study.json, report.html and charts in the study's output.
      """)

  @Argument(help: "A YAML file; see the article on studies in the documentation.")
  var file: String

  @Option(
    help: ArgumentHelp(
      "Runs at a time, shared out to the GPUs; without it one on a CPU, two a GPU.",
      valueName: "count"))
  var jobs: Int?

  @Option(help: ArgumentHelp("The time after which no run begins.", valueName: "minutes"))
  var minutes: Double?

  @Flag(help: "Run again what failed.")
  var retry = false

  @Flag(help: "Check the study with every recipe in it, say what it costs, and stop.")
  var check = false

  @OptionGroup var printing: OutputOptions

  func validate() throws {
    if let jobs, !(1...1024).contains(jobs) {
      throw ValidationError("expected --jobs of 1 to 1024, got \(jobs).")
    }
    if let minutes, !(minutes >= 0) {
      throw ValidationError("expected --minutes of 0 or more, got \(minutes).")
    }
  }

  func run() throws {
    // The GPUs are for the runs: this process computes next to nothing, and keeps no memory there.
    try Device.setDefault(.cpu)
    let study = try Study(contentsOf: URL(filePath: file))
    if check {
      print("\(file): the study is sound, \(study.runs.count) runs.")
      return
    }
    let runner = try StudyRunner(
      study, program: URL(filePath: "/proc/self/exe").resolvingSymlinksInPath(),
      command: (["tessera"] + CommandLine.arguments.dropFirst()).joined(separator: " "),
      jobs: jobs, minutes: minutes, retries: retry)
    try Interruption.watch()
    let line = ProgressLine()
    var last: StudyRunner.Progress?
    let results = try runner.run(
      progress: { progress in
        if progress != last {
          line.show("study", progress.completed, progress.total, progress.detail)
        }
        last = progress
      }, isStopRequested: { Interruption.isRequested })
    try results.writeReport(to: study.output)
    try printing.print(results) {
      "\(results.table)\n\(results.summary)\nwritten: \(study.output.path(percentEncoded: false))"
    }
    if Interruption.isRequested {
      try Interruption.end("; go on with: tessera study \(file)")
    }
  }
}

struct StudyReport: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Make the page and the charts of results anew.")

  @Argument(help: "The study.json of a study.")
  var results: String

  @Option(help: ArgumentHelp("The folder to write.", valueName: "folder"))
  var out: String

  func run() throws {
    let results = try StudyResults(contentsOf: URL(filePath: results))
    try results.writeReport(to: URL(filePath: out))
    print("\(results.summary)\nwritten: \(out)")
  }
}

extension StudyRunner.Progress {
  /// Runs under way, those that failed, and the time that is left.
  fileprivate var detail: String {
    var parts = ["\(completed) of \(total) runs", "\(running) under way"]
    if failed > 0 { parts.append("\(failed) failed") }
    if let secondsLeft, completed < total {
      parts.append("\(decimal(secondsLeft, places: 0)) s left")
    }
    return parts.joined(separator: "  ")
  }
}
