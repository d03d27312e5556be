import Foundation

/// A self-contained page: tables and pictures, nothing loaded from anywhere.
struct ReportPage {
  private var body = ""
  private let title: String

  init(title: String) {
    self.title = title
  }

  mutating func heading(_ text: String) {
    body += "<h2>\(escaped(text))</h2>\n"
  }

  mutating func paragraph(_ text: String) {
    body += "<p>\(escaped(text))</p>\n"
  }

  /// A table whose first column is text and whose other columns are numbers.
  mutating func table(_ header: [String], _ rows: [[String]]) {
    body += "<div class=\"wide\"><table>\n<tr>"
    body += header.map { "<th>\(escaped($0))</th>" }.joined() + "</tr>\n"
    for row in rows {
      body += "<tr>" + row.map { "<td>\(escaped($0))</td>" }.joined() + "</tr>\n"
    }
    body += "</table></div>\n"
  }

  /// Pictures under their titles, or the reason why there are none.
  mutating func charts(_ charts: [Chart]) {
    do {
      for (chart, picture) in zip(charts, try Chart.render(charts)) {
        body += "<figure><figcaption>\(escaped(chart.title))</figcaption>\(picture)</figure>\n"
      }
    } catch {
      paragraph("No charts: \(error)")
    }
  }

  var html: String {
    """
    <!doctype html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>\(escaped(title))</title>
    <style>
    body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
    table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
    th, td { padding: .25rem .75rem; border-bottom: 1px solid #ddd; text-align: right; }
    th:first-child, td:first-child { text-align: left; font-family: ui-monospace, monospace; }
    .wide, figure { overflow-x: auto; margin: 1.5rem 0; }
    figcaption { font-weight: 600; margin-bottom: .5rem; }
    </style>
    </head>
    <body>
    <h1>\(escaped(title))</h1>
    \(body)</body>
    </html>

    """
  }

  private func escaped(_ text: String) -> String {
    text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
      .replacing("\"", with: "&quot;")
  }
}

extension ConversionReport {
  /// The report as one self-contained HTML page with charts.
  public func html() -> String {
    var page = ReportPage(title: "Conversion of \(model)")
    page.paragraph("\(rules.joined(separator: ", ")). Measured on \(machine.summary).")
    page.table(
      ["", "before", "after", "ratio"],
      [
        row(
          "multiply-adds a row, converted layers",
          Double(layers.reduce(0) { $0 + $1.denseParameters }),
          layers.reduce(0) { $0 + $1.multiplyAdds }),
        row(
          "parameters, converted layers", Double(layers.reduce(0) { $0 + $1.denseParameters }),
          Double(layers.reduce(0) { $0 + $1.parameters })),
        row("parameters, model", Double(modelParameters[0]), Double(modelParameters[1])),
        row(
          "ms, model, \(batch[0]) texts of \(batch[1]) tokens", modelMilliseconds[0],
          modelMilliseconds[1]),
      ])
    page.heading("Fidelity to the original, on held-out texts")
    page.table(
      ["after", "mean cosine", "worst cosine", "rank correlation", "same neighbour", "seconds"],
      stages.map {
        [
          $0.name, decimal($0.fidelity.cosine), decimal($0.fidelity.worstCosine),
          decimal($0.fidelity.rankCorrelation), decimal($0.fidelity.neighbourAgreement),
          decimal($0.seconds, places: 1),
        ]
      })
    page.heading("Layers")
    page.charts([
      .bars(
        "Relative output error after the fit", layers.map { ($0.path, $0.spec, $0.error ?? .nan) },
        axis: "‖ŷ − y‖ / ‖y‖"),
      .bars(
        "Multiply-adds a row",
        layers.flatMap {
          [
            ($0.path, "dense", Double($0.denseParameters)), ($0.path, "converted", $0.multiplyAdds),
          ]
        }, axis: "multiply-adds"),
      .bars(
        "Measured time",
        layers.flatMap {
          [($0.path, "dense", $0.denseMilliseconds), ($0.path, "converted", $0.milliseconds)]
        }, axis: "ms"),
    ])
    page.table(
      [
        "layer", "structure", "N × K", "error", "parameters", "of dense", "multiply-adds",
        "of dense", "ms", "dense ms",
      ],
      layers.map {
        [
          $0.path, $0.spec, "\($0.outputs) × \($0.inputs)", $0.error.map { decimal($0) } ?? "–",
          "\($0.parameters)",
          decimal(Double($0.parameters) / Double($0.denseParameters), places: 2),
          "\(Int($0.multiplyAdds.rounded()))",
          decimal($0.multiplyAdds / Double($0.denseParameters), places: 2),
          decimal($0.milliseconds), decimal($0.denseMilliseconds),
        ]
      })
    return page.html
  }

  private func row(_ name: String, _ before: Double, _ after: Double) -> [String] {
    let places = before < 1000 ? 2 : 0
    return [
      name, decimal(before, places: places), decimal(after, places: places),
      decimal(before / after, places: 2),
    ]
  }
}

/// A number with a fixed count of decimals.
func decimal(_ value: Double, places: Int = 3) -> String {
  value.formatted(.number.precision(.fractionLength(places)).locale(Locale(identifier: "en_US")))
}
