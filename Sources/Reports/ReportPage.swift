import Foundation

/// A self-contained page: tables and pictures, nothing loaded from anywhere.
package struct ReportPage {
  private var body = ""
  private let title: String

  package init(title: String) {
    self.title = title
  }

  package mutating func heading(_ text: String) {
    body += "<h2>\(escaped(text))</h2>\n"
  }

  package mutating func paragraph(_ text: String) {
    body += "<p>\(escaped(text))</p>\n"
  }

  /// A table whose first column is text and whose other columns are numbers.
  package mutating func table(_ header: [String], _ rows: [[String]]) {
    body += "<div class=\"wide\"><table>\n<tr>"
    body += header.map { "<th>\(escaped($0))</th>" }.joined() + "</tr>\n"
    for row in rows {
      body += "<tr>" + row.map { "<td>\(escaped($0))</td>" }.joined() + "</tr>\n"
    }
    body += "</table></div>\n"
  }

  /// Pictures under their titles, or the reason why there are none.
  package mutating func charts(_ charts: [Chart]) {
    do {
      for (chart, picture) in zip(charts, try Chart.render(charts)) {
        body += "<figure><figcaption>\(escaped(chart.title))</figcaption>\(picture)</figure>\n"
      }
    } catch {
      paragraph("No charts: \(error)")
    }
  }

  package var html: String {
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

/// A number with a fixed count of decimals.
package func decimal(_ value: Double, places: Int = 3) -> String {
  value.formatted(.number.precision(.fractionLength(places)).locale(Locale(identifier: "en_US")))
}
