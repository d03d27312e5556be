import Foundation
import MLX
import Reports
import TestSupport
import Testing

@testable import Conversion

@Suite struct ReportTests {
  @Test func theReportAsJSONComesBack() throws {
    let report = ConversionReport.example()
    let data = try report.json()
    #expect(try JSONDecoder().decode(ConversionReport.self, from: data) == report)
    let document = try JSON(parsing: [UInt8](data))
    #expect(document["layers"]?.array?.first?["path"]?.string == "encoder.layer.0.query")
    #expect(document["stages"]?.array?.count == 2)
  }

  @Test func ratiosAreThoseOfTheConvertedLayers() {
    let report = ConversionReport.example()
    #expect(report.multiplyAddRatio == Double(8 * 4 + 8 * 6) / 48)
    #expect(report.parameterShare == 48 / Double(8 * 4 + 8 * 6))
    #expect(report.fidelity?[.cosine] == 0.96)
  }

  /// What would make a browser load something, or run it.
  private func expectSelfContained(_ page: String) {
    for loading in [
      "<script", "<link", "<iframe", "<object", "<embed", "@import", " src=", "url(http",
      "href=\"http", "href='http", "href=\"//",
    ] where page.lowercased().contains(loading) {
      Issue.record("the page has \(loading)")
    }
    #expect(page.hasPrefix("<!doctype html>") && page.contains("</html>"))
  }

  @Test func thePageIsSelfContainedAndNamesEveryLayer() {
    let report = ConversionReport.example()
    let page = report.html()
    expectSelfContained(page)
    #expect(page.contains("Conversion of a&lt;b&gt;&amp;&quot;c&quot;"))
    #expect(page.contains("encoder.layer.0.query") && page.contains("layer&lt;script&gt;"))
    #expect(page.contains("btt at 1/2.0 for &lt;x&gt;"))
    #expect(page.contains("0.250") && page.contains("<td>–</td>"))
    #expect(!page.contains("a<b>") && !page.contains("layer<script>"))
    // Charts where they can be drawn, otherwise the reason.
    #expect(page.contains("<svg") != page.contains("No charts: "))
  }

  // MARK: - Sweeps

  @Test func aSweepHasARowForEachConversion() throws {
    let sweep = Sweep(reports: [.example(cosine: 0.9604), .example(cosine: 0.5)])
    #expect(sweep.rows.count == 2 && sweep.rows.allSatisfy { $0.count == sweep.header.count })
    #expect(
      sweep.rows[0] == [
        "btt at 1/2.0 for <x>", "1/1.67", "0.60", "0.900", "0.960", "1.000", "1.000", "2.0",
        "1.50",
      ])
    let lines = sweep.table.split(separator: "\n")
    #expect(lines.count == 3 && Set(lines.map(\.count)).count == 1)
    // A conversion that lost stays in.
    #expect(lines[2].contains("0.500"))
    let again = try JSONDecoder().decode(Sweep.self, from: JSONEncoder().encode(sweep))
    #expect(again.reports == sweep.reports)
  }

  @Test func theSweepsPageIsSelfContained() {
    let page = Sweep(reports: [.example()]).html()
    expectSelfContained(page)
    #expect(page.contains("Structures for a&lt;b&gt;") && page.contains("1/1.67"))
  }

  @Test func tablesAreAligned() {
    var table = TextTable(["name", "n"])
    table.append(["é", "100"])
    table.append(["longer", "2"])
    #expect(table.description == "name      n\né       100\nlonger    2")
  }

  // MARK: - Charts

  @Test func chartsAreVegaLite() throws {
    let bars = Chart.bars(
      "b", [("layer \"0\"", "dense", 1), ("layer 1", "converted", .nan)], axis: "ms")
    let points = Chart.points("p", [("a\nb", 0.5, 0.9)], x: "cost", y: "cosine")
    for chart in [bars, points] {
      let text = chart.specification.encoded()
      #expect(try JSON(parsing: Array(text.utf8)) == chart.specification)
      let object = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
      #expect(object?["data"] != nil && object?["width"] != nil && object?["encoding"] != nil)
      #expect(!text.contains("http"))
    }
    let values = try #require(bars.specification["data"]?["values"]?.array)
    #expect(values.map { $0["layer"]?.string } == ["layer \"0\"", "layer 1"])
    #expect(values[0]["value"]?.double == 1 && values[1]["value"] == .null)
    #expect(points.specification["layer"]?.array?.count == 2)
  }
}
