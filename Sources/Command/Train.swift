import ArgumentParser
import Foundation
import Tessera

struct Train: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Train a model by a recipe: from scratch or fine-tuned, on one or several processes.",
    discussion: """
      Run it under mpirun for several processes: mpirun -n 4 tessera train RECIPE. Ctrl-C, \
      SIGTERM (or SIGUSR1, which mpirun passes on) ends the run after the present step with a checkpoint.
      """)

  @Argument(help: "A YAML file; see the article on training in the documentation.")
  var recipe: String

  @Flag(help: "Go on from the last checkpoint of the recipe's output, if there is one.")
  var resume = false

  @Flag(help: "Check the recipe and stop.")
  var check = false

  @Option(help: .hidden)
  var parent: Int32?

  @OptionGroup var printing: OutputOptions

  func run() throws {
    let group = try ProcessGroup.join()
    let recipe = try Recipe(contentsOf: URL(filePath: recipe))
    if check {
      print("\(self.recipe): the recipe is sound.")
      return
    }
    let trainer = try Trainer(recipe: recipe, group: group)
    try Interruption.watch(alsoOn: [SIGUSR1])
    let line = ProgressLine()
    let result = try trainer.run(
      resuming: resume,
      progress: { progress in
        guard group.rank == 0 else { return }
        line.show("train", progress.metric.step, progress.steps, progress.detail)
      },
      isStopRequested: {
        // The process that started this one, if it said so, is gone.
        Interruption.isRequested || parent.map { $0 != getppid() } ?? false
      })
    guard group.rank == 0 else { return }
    try trainer.writePage(result)
    try printing.print(result) { result.summary }
    if result.ending == .interrupted {
      try Interruption.end("; go on with: tessera train \(self.recipe) --resume")
    }
  }
}

extension TrainingProgress {
  /// Loss, rate, speed and the time that is left.
  fileprivate var detail: String {
    var parts: [String] = []
    if let loss = metric.loss { parts.append("loss \(decimal(loss, places: 4))") }
    if let rate = metric.rate { parts.append(String(format: "rate %.2e", rate)) }
    if let speed = metric.perSecond { parts.append("\(decimal(speed, places: 0)) \(unit)/s") }
    if let share = metric.utilization {
      parts.append("\(decimal(100 * share, places: 1)) % of the peak")
    }
    if let secondsLeft { parts.append("\(decimal(secondsLeft, places: 0)) s left") }
    return parts.joined(separator: "  ")
  }
}
