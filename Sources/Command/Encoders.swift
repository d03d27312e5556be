import ArgumentParser
import Foundation
import Tessera

struct EncodersCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "encoders", abstract: "The bases of Strassen-Tile: list, prove, fit.",
    subcommands: [
      EncodersList.self, EncodersVerify.self, EncodersFit.self, EncodersFitLayers.self,
      EncodersGroups.self,
    ])
}

struct EncodersList: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "The encoders that Tessera carries, with error and cost.")

  @Option(
    help: ArgumentHelp(
      "Inputs and outputs of the layer whose cost is shown.", valueName: "KxN"))
  var shape = "4096x4096"

  @Option(
    help: ArgumentHelp(
      "Also draw error against rank, groups searched as by `encoders groups`.",
      valueName: "file.svg|file.png"))
  var plot: String?

  @OptionGroup var printing: OutputOptions

  func validate() throws { _ = try sizes(in: shape, count: 2, example: "768x3072") }

  func run() throws {
    let sizes = try sizes(in: shape, count: 2, example: "768x3072")
    if let plot {
      let url = URL(filePath: plot)
      try EncoderPlot.checkFormat(of: url)
      try checkWritable(plot)
      try EncoderPlot(groups: try GroupTable()).write(to: url)
    }
    let list = EncoderList(inputs: sizes[0], outputs: sizes[1])
    try printing.print(list) {
      ([list.table] + [plot.map { "\nplot: \($0)" }].compactMap(\.self)).joined(separator: "\n")
    }
  }
}

struct EncodersVerify: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify", abstract: "Prove the exact tables over the rational numbers.")

  @OptionGroup var printing: OutputOptions

  func run() throws {
    let list = try ProofList()
    try printing.print(list) { list.text }
  }
}

struct EncodersFit: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fit", abstract: "Search for an encoder from nothing.")

  @Option(help: "The side of a tile.")
  var tile = 4

  @Option(help: "Products a pair of tiles.")
  var rank: Int

  @Option(help: "The seed of all starts.")
  var seed: UInt64 = 1

  @Option(help: "How long to search.")
  var minutes = 2.0

  @Option(help: "How many rounds to search at most; gives the same result everywhere.")
  var rounds: Int?

  @OptionGroup var printing: OutputOptions

  func validate() throws {
    guard minutes > 0, minutes <= 1e5 else {
      throw ValidationError("expected minutes above 0, got \(minutes).")
    }
  }

  func run() throws {
    try Interruption.watch()
    let line = ProgressLine()
    let limit = EncoderFitter.Limit(
      rounds: rounds ?? .max, duration: .seconds(minutes * 60))
    let fit = try EncoderFitter(threads: 2).fit(
      tile: tile, rank: rank, seed: seed, limit: limit
    ) { progress in
      line.show(
        "fit", Int(progress.elapsed / .seconds(1)), Int(minutes * 60), "error \(progress.error)")
      return (try? Interruption.check()) != nil
    }
    let report = EncoderFitReport(fit, inputs: 4096, outputs: 4096)
    try printing.print(report) { report.table }
  }
}

struct EncodersGroups: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "groups",
    abstract: "Tiles placed in group algebras: error against real rank, group by group.")

  @Option(help: "The side of a tile.")
  var tile = 4

  @Option(
    help: ArgumentHelp(
      "Orders of cyclic factors, such as 2x2x6; give several. Default: ten groups for tile 4.",
      valueName: "orders"))
  var group: [String] = []

  @Option(help: "The seed of the search for placements.")
  var seed: UInt64 = 1

  @Option(help: "Starts of the search a group.")
  var starts = 16

  @Option(help: "Steps a start.")
  var steps = 2000

  @Flag(help: "Refine the best placement of each group by least squares.")
  var refine = false

  @OptionGroup var printing: OutputOptions

  func validate() throws {
    for text in group { _ = try factors(text) }
  }

  private func factors(_ text: String) throws -> [Int] {
    let parts = text.split(separator: "x", omittingEmptySubsequences: false)
    let factors = parts.compactMap { Int($0) }
    guard factors.count == parts.count else {
      throw ValidationError("expected orders such as 2x2x6, got '\(text)'.")
    }
    return factors
  }

  func run() throws {
    let groups = try group.map { try AbelianGroup(factors($0)) }
    let table = try GroupTable(
      groups: groups.isEmpty ? nil : groups, tile: tile, seed: seed, starts: starts, steps: steps,
      refinedBy: refine ? EncoderFitter(threads: 2) : nil)
    try printing.print(table) { table.table }
  }
}
