import ArgumentParser
import Foundation
import Tessera

/// The options that say how far a structure is to go, and in which layers.
struct ScopeOptions: ParsableArguments {
  @Option(help: "Choose rank or blocks for this many times fewer multiply-adds in every layer.")
  var ratio: Double?

  @Option(
    help: ArgumentHelp(
      "Choose structure and size layer by layer, by what each costs the model's fidelity, for this "
        + "many times fewer multiply-adds of the layers together.", valueName: "ratio"))
  var budget: Double?

  @Option(
    help: ArgumentHelp(
      "Only layers whose path matches ('*' and '?'); may be given again. Default: all of the "
        + "encoder.", valueName: "pattern"))
  var layers: [String] = []

  func validate() throws {
    if ratio != nil, budget != nil {
      throw ValidationError("expected --ratio or --budget, got both.")
    }
  }

  func rule(_ text: String, ratio: Double?) throws -> ConversionRule {
    let layers = layers.isEmpty ? ["encoder.*"] : layers
    if let budget { return try ConversionRule(parsing: text, budget: budget, layers: layers) }
    return try ConversionRule(parsing: text, ratio: ratio, layers: layers)
  }
}

/// The options that say what becomes of a model's layers.
struct RuleOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "A structure, such as 'btt:rank=6'; with --ratio a family, such as 'btt'; with --budget a "
        + "list of both to choose from, such as 'lowrank,2:4'.",
      discussion: "Structures: \(OperatorSpec.names.joined(separator: ", ")).", valueName: "spec"))
  var to: String

  @OptionGroup var scope: ScopeOptions

  func rule() throws -> ConversionRule { try scope.rule(to, ratio: scope.ratio) }
}

/// The options that say which texts a conversion sees.
struct CorpusOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "UTF-8 texts, one a line. Default: WordNet's examples and definitions, from Debian's package "
        + "wordnet-base.", valueName: "file"))
  var calibrate: String?

  @Option(help: "Texts to calibrate and distil on.")
  var texts = 20_000

  @Option(help: "Other texts, to judge by.")
  var heldOut = 1000

  func validate() throws {
    guard texts > 0, texts <= 1 << 24 else {
      throw ValidationError("expected --texts of 1 to \(1 << 24), got \(texts).")
    }
    // Neighbours and correlations of similarities need three.
    guard heldOut >= 3, heldOut <= 1 << 15 else {
      throw ValidationError("expected --held-out of 3 to \(1 << 15), got \(heldOut).")
    }
  }

  func corpus() throws -> Corpus {
    guard let calibrate else { return try .wordNet(calibration: texts, heldOut: heldOut) }
    let url = URL(filePath: calibrate)
    let lines = Set(try Corpus.lines(url).map { $0.lowercased() }).count
    return try .text(
      url, calibration: min(texts, max(1, lines - heldOut)), heldOut: heldOut)
  }
}

/// The options of every command that converts.
struct ConversionArguments: ParsableArguments {
  @OptionGroup var corpus: CorpusOptions

  @Option(help: "Texts that the fits see.")
  var fitTexts = 2000

  @Option(help: "Steps of distillation after the fit, each on a batch of texts.")
  var distill = 0

  func validate() throws {
    guard fitTexts > 0 else {
      throw ValidationError("expected --fit-texts above 0, got \(fitTexts).")
    }
    guard distill >= 0 else {
      throw ValidationError("expected --distill of 0 or more, got \(distill).")
    }
  }

  func options(_ rule: ConversionRule) -> ConversionOptions {
    ConversionOptions(rules: [rule], fitTexts: fitTexts, distillationSteps: distill)
  }
}

struct Convert: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Replace dense layers of a model: plan, calibrate, fit, distil, write, report.")

  @Argument(help: "A Hugging Face folder: config.json, model.safetensors, tokenizer.json.")
  var model: String

  @Argument(help: "The folder to write.")
  var output: String

  @OptionGroup var rules: RuleOptions
  @OptionGroup var conversion: ConversionArguments

  @Option(help: ArgumentHelp("Also write the report as a page.", valueName: "file.html"))
  var report: String?

  @Flag(help: "Replace the output folder if it exists.")
  var force = false

  @OptionGroup var printing: OutputOptions

  func run() throws {
    let target = URL(filePath: output)
    let converter = try Converter(
      folder: URL(filePath: model), options: conversion.options(try rules.rule()))
    try converter.original.checkpoint.folder.checkTarget(target, replacingExisting: force)
    try report.map(checkWritable)
    let corpus = try conversion.corpus.corpus()
    try Interruption.watch()
    let line = ProgressLine()
    let result = try converter.run(corpus: corpus) { progress in
      line.show(progress.stage, progress.completed, progress.total, progress.detail)
      try Interruption.check()
    }
    try converter.write(to: target, replacingExisting: force)
    if let report { try write(result.html(), to: report) }
    try printing.print(result) {
      var lines = [Sweep(reports: [result]).table, "", "written: \(output)"]
      if let report { lines.append("report: \(report)") }
      return lines.joined(separator: "\n")
    }
  }
}

struct SweepCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sweep",
    abstract: "Convert a model to several structures on the same texts and compare them.")

  @Argument(help: "A Hugging Face folder: config.json, model.safetensors, tokenizer.json.")
  var model: String

  @Option(
    help: ArgumentHelp(
      "A structure, with --ratio a family, with --budget a list of both; give several.",
      valueName: "spec"))
  var to: [String]

  @OptionGroup var scope: ScopeOptions

  @OptionGroup var conversion: ConversionArguments

  @Option(help: ArgumentHelp("Also write the comparison as a page.", valueName: "file.html"))
  var report: String?

  @OptionGroup var printing: OutputOptions

  func validate() throws {
    if to.isEmpty { throw ValidationError("expected at least one --to, got none.") }
  }

  func run() throws {
    // Beside a ratio a whole spec stands for itself.
    let options = try to.map { text in
      let isWhole = (try? OperatorSpec(parsing: text)) != nil
      return conversion.options(try scope.rule(text, ratio: isWhole ? nil : scope.ratio))
    }
    try report.map(checkWritable)
    let corpus = try conversion.corpus.corpus()
    try Interruption.watch()
    let line = ProgressLine()
    let sweep = try Sweep.run(folder: URL(filePath: model), options: options, corpus: corpus) {
      number, progress in
      line.show(
        "\(to[number]): \(progress.stage)", progress.completed, progress.total, progress.detail)
      try Interruption.check()
    }
    if let report { try write(sweep.html(), to: report) }
    try printing.print(sweep) {
      ([sweep.table, ""] + [report.map { "report: \($0)" }].compactMap(\.self))
        .joined(separator: "\n")
    }
  }
}
