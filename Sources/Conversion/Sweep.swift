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

  /// Converts the model by each set of options and throws the results away but for the reports.
  ///
  /// Throws, before any work, if one of the plans cannot be carried out.
  public static func run(
    folder: URL, options: [ConversionOptions], corpus: Corpus,
    progress: (_ number: Int, ConversionProgress) throws -> Void = { _, _ in }
  ) throws -> Sweep {
    for option in options { _ = try Converter(folder: folder, options: option) }
    return Sweep(
      reports: try options.enumerated().map { number, option in
        try Converter(folder: folder, options: option).run(corpus: corpus) {
          try progress(number, $0)
        }
      })
  }

  /// One row a conversion, under ``header``.
  public var rows: [[String]] {
    reports.map { report in
      let fidelity = report.fidelity
      return [
        report.rules.joined(separator: "; "), "1/\(decimal(report.multiplyAddRatio, places: 2))",
        decimal(report.parameterShare, places: 2), decimal(report.stages[0].fidelity.cosine),
        fidelity.map { decimal($0.cosine) } ?? "",
        fidelity.map { decimal($0.rankCorrelation) } ?? "",
        fidelity.map { decimal($0.neighbourAgreement) } ?? "",
        decimal(report.modelMilliseconds[1], places: 1),
        decimal(report.modelMilliseconds[0] / report.modelMilliseconds[1], places: 2),
      ]
    }
  }

  /// What the columns of ``rows`` are.
  public static let header = [
    "structure", "multiply-adds", "parameters", "cosine, fitted", "cosine", "rank correlation",
    "same neighbour", "ms", "speed",
  ]

  /// The table as text.
  public var table: String {
    var table = TextTable(Sweep.header)
    for row in rows { table.append(row) }
    return table.description
  }

  /// The sweep as one self-contained HTML page.
  public func html() -> String {
    let name = reports.first?.model ?? ""
    var page = ReportPage(title: "Structures for \(name)")
    page.paragraph(reports.first.map { "Measured on \($0.machine.summary)." } ?? "")
    page.table(Sweep.header, rows)
    page.paragraph(
      "Multiply-adds and parameters are those of the converted layers, as a share of dense, with "
        + "everything counted. Cosine is the mean over held-out texts between the embedding of the "
        + "converted and of the original model; ms is the whole model's median for a batch, and "
        + "speed the dense model's over it, in the same run.")
    page.charts([
      .points(
        "Fidelity against multiply-adds",
        reports.map {
          ($0.rules.joined(separator: "; "), 1 / $0.multiplyAddRatio, $0.fidelity?.cosine ?? .nan)
        }, x: "multiply-adds, share of dense", y: "mean cosine"),
      .points(
        "Fidelity against measured time",
        reports.map {
          (
            $0.rules.joined(separator: "; "), $0.modelMilliseconds[1] / $0.modelMilliseconds[0],
            $0.fidelity?.cosine ?? .nan
          )
        }, x: "time, share of dense", y: "mean cosine"),
    ])
    return page.html
  }
}
