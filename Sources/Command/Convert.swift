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
        + "stack, which leaves out what is before and after it.", valueName: "pattern"))
  var layers: [String] = []

  func validate() throws {
    if ratio != nil, budget != nil {
      throw ValidationError("expected --ratio or --budget, got both.")
    }
  }

  func rule(_ text: String, ratio: Double?) throws -> ConversionRule {
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

/// The options that say which examples a conversion sees.
struct ExampleOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "What to calibrate on and judge by. Sentence encoders: UTF-8 texts, one a line. Language "
        + "models: a UTF-8 text, or a set of `tessera data text`. Images: a set of `tessera data "
        + "images`. Default for text: WordNet's examples and definitions, from Debian's package "
        + "wordnet-base.", valueName: "path"))
  var calibrate: String?

  @Option(help: "Texts, windows of tokens or images to calibrate and distil on.")
  var examples: Int?

  @Option(help: "Others, to judge by.")
  var heldOut: Int?

  @OptionGroup var shape: ShapeOptions

  func validate() throws {
    if let examples, !(1...1 << 24).contains(examples) {
      throw ValidationError("expected --examples of 1 to \(1 << 24), got \(examples).")
    }
    if let heldOut, !(1...1 << 15).contains(heldOut) {
      throw ValidationError("expected --held-out of 1 to \(1 << 15), got \(heldOut).")
    }
  }

  func source() -> ExampleSource {
    ExampleSource(
      calibrate.map { URL(filePath: $0) }, calibration: examples, heldOut: heldOut,
      length: shape.tokens, batch: shape.batch)
  }
}

/// The options that say how examples go through a model.
struct ShapeOptions: ParsableArguments {
  @Option(help: "Language models: tokens of a window. Default: 256, or the model's limit.")
  var tokens: Int?

  @Option(
    help: ArgumentHelp(
      "Language models and images: examples of a batch. Layers with rows=batch give results that "
        + "depend on it.", valueName: "examples"))
  var batch: Int?

  func validate() throws {
    if let tokens, tokens < 1 {
      throw ValidationError("expected --tokens above 0, got \(tokens).")
    }
    if let batch, !(1...1 << 16).contains(batch) {
      throw ValidationError("expected --batch of 1 to \(1 << 16), got \(batch).")
    }
  }
}

/// The options of every command that converts.
struct ConversionArguments: ParsableArguments {
  @OptionGroup var examples: ExampleOptions

  @Option(
    help: ArgumentHelp(
      "Examples that the fits see. Default: 2000 texts, 128 windows of tokens, 512 images.",
      valueName: "examples"))
  var fitExamples: Int?

  @Option(help: "Steps of distillation after the fit, each on a batch of examples.")
  var distill = 0

  func validate() throws {
    if let fitExamples, fitExamples < 1 {
      throw ValidationError("expected --fit-examples above 0, got \(fitExamples).")
    }
    guard distill >= 0 else {
      throw ValidationError("expected --distill of 0 or more, got \(distill).")
    }
  }

  func options(_ rule: ConversionRule) -> ConversionOptions {
    ConversionOptions(rules: [rule], fitExamples: fitExamples, distillationSteps: distill)
  }
}

struct Convert: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Replace dense layers of a model: plan, calibrate, fit, distil, write, report.")

  @Argument(help: "A Hugging Face folder; for texts with its tokenizer.json.")
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
    try Interruption.watch()
    let line = ProgressLine()
    let result = try converter.run(on: conversion.examples.source()) { progress in
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

  @Argument(help: "A Hugging Face folder; for texts with its tokenizer.json.")
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
    try Interruption.watch()
    let line = ProgressLine()
    let sweep = try Sweep.run(
      folder: URL(filePath: model), options: options, on: conversion.examples.source()
    ) { number, progress in
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
