import ArgumentParser
import Tessera

struct EncodersCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "encoders", abstract: "The bases of Strassen-Tile: list, prove, fit.",
    subcommands: [EncodersList.self, EncodersVerify.self, EncodersFit.self])
}

struct EncodersList: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "The encoders that Tessera carries, with error and cost.")

  @Option(help: "Inputs and outputs of the layer whose cost is shown.")
  var width = 4096

  @OptionGroup var printing: OutputOptions

  func run() throws {
    let summaries = Encoder.library.map { EncoderSummary($0, width: width) }
    try printing.print(summaries) { EncoderSummary.table(summaries, width: width) }
  }
}

struct EncodersVerify: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify", abstract: "Prove the exact tables over the rational numbers.")

  func run() throws {
    for table in ExactTable.library {
      try table.prove()
      print("proved: \(table)")
    }
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
    let summary = EncoderSummary(fit.encoder, width: 4096)
    try printing.print(summary) { EncoderSummary.table([summary], width: 4096) }
  }
}
