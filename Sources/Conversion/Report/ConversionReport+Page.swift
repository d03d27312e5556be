import Foundation
import Reports

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
          "ms, model, a batch of \(batch.map(String.init).joined(separator: "×"))",
          modelMilliseconds[0], modelMilliseconds[1]),
      ])
    let measures = fidelity?.measures ?? []
    page.heading("Fidelity to the original, on held-out \(fidelity?.unit.rawValue ?? "examples")")
    page.table(
      ["after"] + measures.map(\.title) + ["seconds"],
      stages.map { stage in
        [stage.name] + measures.map { decimal(stage.fidelity[$0]) }
          + [decimal(stage.seconds, places: 1)]
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
