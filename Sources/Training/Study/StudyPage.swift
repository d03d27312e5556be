import Foundation
import MLX
import Reports

extension StudyResults {
  /// The results as one self-contained HTML page with charts.
  public func html() -> String {
    var page = ReportPage(title: title)
    page.paragraph(
      "Measured on \(machine.summary), \(gpus == 0 ? "on the CPU" : "on \(gpus) GPUs"), \(jobs) runs "
        + "at a time. \(summary)")
    page.paragraph("Command: \(command)")
    if !drifts.isEmpty {
      page.heading("How far the best \(analysis.optimum?.axis ?? "") moves")
      page.table(driftTable.header, driftTable.rows)
    }
    if analysis.scaling != nil {
      page.heading("Power laws")
      page.paragraph(
        "\(measureName) = a · C^-α, least squares of the logarithms; ± is the 95 % interval of "
          + "Student's t with two degrees of freedom fewer than runs.")
      page.table(powerTable.header, powerTable.rows)
      page.heading("Beside \(analysis.scaling?.baseline ?? "")")
      page.table(rivalTable.header, rivalTable.rows)
    }
    page.charts(charts.map(\.chart))
    page.heading("All runs")
    page.table(groupTable.header, groupTable.rows)
    let failures = rows.filter { $0.status == .failed }
    if !failures.isEmpty {
      page.heading("Runs that failed")
      page.table(
        axes + ["reason"], failures.map { $0.point + [$0.reason ?? "–"] })
    }
    return page.html
  }

  /// One line: how many runs there are, and how they stand.
  public var summary: String {
    "\(count(.finished)) of \(rows.count) runs finished, \(count(.failed)) failed, "
      + "\(count(.waiting)) waiting."
  }

  /// Writes the page, and each chart as a picture, into a folder.
  ///
  /// Without the Python package that draws there are no pictures; the page says so. Throws where
  /// files cannot be written.
  public func writeReport(to folder: URL) throws {
    try FileSystem.makeFolder(folder)
    try AtomicFile.write(html(), to: folder.appending(path: "report.html"))
    let charts = charts
    // The page has told why there are none.
    guard let pictures = try? Chart.render(charts.map(\.chart)) else { return }
    for (chart, picture) in zip(charts, pictures) {
      try AtomicFile.write(picture, to: folder.appending(path: "\(chart.name).svg"))
    }
  }

  /// A table of all places, for a terminal.
  public var table: TextTable {
    var table = TextTable(groupTable.header)
    for row in groupTable.rows { table.append(row) }
    return table
  }

  // MARK: - Tables

  private var measureName: String {
    analysis.measure == .loss ? "validation loss" : "validation error"
  }

  private func text(_ value: Double?, _ places: Int = 4) -> String {
    value.map { $0.isFinite ? decimal($0, places: places) : "–" } ?? "–"
  }

  private var groupTable: (header: [String], rows: [[String]]) {
    let repeats = analysis.repetitions != nil
    let rows = groups.map { group in
      group.point
        + [
          "\(group.parameters)", "\(Int(group.multiplyAdds.rounded()))", text(group.mean),
        ] + (repeats ? [text(group.deviation), "\(group.scores.count) of \(group.count)"] : [])
        + [text(group.stepSeconds.map { 1000 * $0 }, 2)]
    }
    return (
      groupAxes + ["parameters", "multiply-adds", measureName]
        + (repeats ? ["deviation", "runs"] : []) + ["ms a step"], rows
    )
  }

  private var driftTable: (header: [String], rows: [[String]]) {
    let optimum = analysis.optimum
    let places = optima.map(\.across).reduce(into: [Double]()) { list, place in
      if !list.contains(place) { list.append(place) }
    }.sorted()
    let rows = drifts.map { drift in
      [drift.series]
        + places.map { place in
          let found = optima.first { $0.series == drift.series && $0.across == place }?.optimum
          return found.map {
            String(format: "%.2g", exp2($0.octaves)) + ($0.isAtEdge ? " (edge)" : "")
          } ?? "–"
        } + [text(drift.octaves, 2), text(drift.range, 2) + (drift.isBound ? " or more" : "")]
    }
    return (
      ["series"] + places.map { "\(optimum?.across ?? "") \(Int($0))" }
        + ["first to last, octaves", "range, octaves"], rows
    )
  }

  private var powerTable: (header: [String], rows: [[String]]) {
    func cell(_ fit: PowerFit?) -> String {
      guard let fit else { return "–" }
      let interval = fit.halfInterval.isFinite ? decimal(fit.halfInterval, places: 3) : "∞"
      return "\(decimal(fit.exponent, places: 3)) ± \(interval)"
    }
    let rows = scalingSeries.map { series in
      [
        series.name, "\(series.groups.count { $0.mean != nil })",
        cell(fit(series.groups) { $0.multiplyAdds }),
        cell(fit(series.groups) { Double($0.parameters) }),
      ]
    }
    return (
      [analysis.scaling?.series ?? "", "sizes", "α of multiply-adds", "α of parameters"], rows
    )
  }

  private func fit(_ groups: [StudyGroup], _ cost: (StudyGroup) -> Double) -> PowerFit? {
    PowerFit(groups.compactMap { group in group.mean.map { (cost(group), $0) } })
  }

  private var rivalTable: (header: [String], rows: [[String]]) {
    let baseline = analysis.scaling?.baseline ?? ""
    let isTimed = rows.contains { $0.stepSeconds != nil }
    let others = scalingSeries.filter { $0.name != baseline }
    let rows = others.flatMap { series in
      series.groups.map { group in
        group.point
          + [
            text(group.mean),
            text(rival(at: group.multiplyAdds) { $0.multiplyAdds }),
            text(rival(at: Double(group.parameters)) { Double($0.parameters) }),
          ]
          + (isTimed ? [text(group.stepSeconds.flatMap { rival(at: $0, by: \.stepSeconds) })] : [])
      }
    }
    return (
      groupAxes + [
        measureName, "\(baseline) at equal multiply-adds", "\(baseline) at equal parameters",
      ] + (isTimed ? ["\(baseline) at equal time of a step"] : []), rows
    )
  }

  // MARK: - Charts

  /// The charts with names for files.
  private var charts: [(name: String, chart: Chart)] {
    var charts: [(name: String, chart: Chart)] = []
    if let optimum = analysis.optimum {
      var order: [String] = []
      for curve in optimumCurves where !order.contains(curve.series) { order.append(curve.series) }
      let panels = order.map { series in
        (
          series,
          optimumCurves.filter { $0.series == series }.flatMap { curve in
            curve.points.map { (name: curve.across, x: $0.x, y: $0.y) }
          }
        )
      }
      charts.append(
        (
          "optimum",
          Chart.panels(
            "\(measureName) by \(optimum.axis), a curve for each \(optimum.across)", panels,
            x: optimum.axis, y: measureName)
        ))
    }
    let costs: [(name: String, title: String, cost: (StudyGroup) -> Double?)] = [
      ("operations", "multiply-adds of an example", { $0.multiplyAdds }),
      ("parameters", "parameters", { Double($0.parameters) }),
      ("time", "seconds of a step", \.stepSeconds),
    ]
    guard analysis.optimum == nil else { return charts }
    for cost in costs {
      let points = groups.compactMap { group -> Chart.Point? in
        guard let x = cost.cost(group), let y = group.mean else { return nil }
        let name =
          analysis.scaling.map { label(group, $0.series) } ?? label(group, groupAxes)
        return Chart.Point(name: name, x: x, y: y, deviation: group.deviation)
      }
      guard !points.isEmpty else { continue }
      charts.append(
        (
          cost.name,
          Chart.costs(
            "\(measureName) against \(cost.title)", points, x: cost.title, y: measureName,
            isJoined: analysis.scaling != nil)
        ))
    }
    return charts
  }
}
