import Foundation
import Models
import Reports

/// Several conversions of one model on the same texts, side by side.
public struct Sweep: Codable, Sendable {
  /// The conversions that were made.
  public var reports: [ConversionReport]

  /// Puts conversions side by side.
  public init(reports: [ConversionReport]) {
    self.reports = reports
  }

  /// Converts the model by each set of options and throws the results away but for the reports;
  /// the examples are the same for all.
  ///
  /// Throws, before any work, if one of the plans cannot be carried out.
  public static func run(
    folder: URL, options: [ConversionOptions], on source: ExampleSource,
    progress: (_ number: Int, ConversionProgress) throws -> Void = { _, _ in }
  ) throws -> Sweep {
    for option in options { _ = try Converter(folder: folder, options: option) }
    return Sweep(
      reports: try options.enumerated().map { number, option in
        try Converter(folder: folder, options: option).run(on: source) {
          try progress(number, $0)
        }
      })
  }

  /// One row a conversion, under ``header``.
  public var rows: [[String]] {
    reports.map { report in
      let fitted = measures.prefix(1).map { decimal(report.stages[0].fidelity[$0]) }
      let final = measures.map { decimal(report.fidelity?[$0] ?? .nan) }
      return [
        report.rules.joined(separator: "; "), "1/\(decimal(report.multiplyAddRatio, places: 2))",
        decimal(report.parameterShare, places: 2),
      ] + fitted + final + [
        decimal(report.modelMilliseconds[1], places: 1),
        decimal(report.modelMilliseconds[0] / report.modelMilliseconds[1], places: 2),
      ]
    }
  }

  /// What was measured of the models.
  private var measures: [Fidelity.Measure] {
    reports.first?.fidelity?.measures.filter(\.isOfTables) ?? []
  }

  /// What the columns of ``rows`` are.
  public var header: [String] {
    ["structure", "multiply-adds", "parameters"]
      + measures.prefix(1).map { "\($0.title), fitted" } + measures.map(\.title) + ["ms", "speed"]
  }

  /// The table as text.
  public var table: String {
    var table = TextTable(header)
    for row in rows { table.append(row) }
    return table.description
  }

  /// The sweep as one self-contained HTML page.
  public func html() -> String {
    let name = reports.first?.model ?? ""
    var page = ReportPage(title: "Structures for \(name)")
    page.paragraph(reports.first.map { "Measured on \($0.machine.summary)." } ?? "")
    page.table(header, rows)
    page.paragraph(
      "Multiply-adds and parameters are those of the converted layers, as a share of dense, with "
        + "everything counted. What follows is the mean over held-out examples, beside the original "
        + "model; ms is the whole model's median for a batch, and speed the dense model's over it, "
        + "in the same run.")
    guard let measure = measures.first else { return page.html }
    page.charts([
      .points(
        "Fidelity against multiply-adds",
        reports.map {
          ($0.rules.joined(separator: "; "), 1 / $0.multiplyAddRatio, $0.fidelity?[measure] ?? .nan)
        }, x: "multiply-adds, share of dense", y: measure.title),
      .points(
        "Fidelity against measured time",
        reports.map {
          (
            $0.rules.joined(separator: "; "), $0.modelMilliseconds[1] / $0.modelMilliseconds[0],
            $0.fidelity?[measure] ?? .nan
          )
        }, x: "time, share of dense", y: measure.title),
    ])
    return page.html
  }
}
