import Foundation
import Models

/// A chart as a Vega-Lite specification.
struct Chart {
  /// What stands above the chart.
  var title: String
  /// The specification.
  var specification: JSONValue

  /// Bars of one value for each layer, coloured by its kind.
  static func bars(
    _ title: String, _ rows: [(layer: String, series: String, value: Double)], axis: String
  ) -> Chart {
    let values = rows.map {
      JSONValue.object([
        ("layer", .string($0.layer)), ("series", .string($0.series)), ("value", .number($0.value)),
      ])
    }
    let several = Set(rows.map(\.series)).count > 1
    return Chart(
      title: title,
      specification: [
        "width": 720, "height": 220,
        "data": .object([("values", .array(values))]),
        "mark": "bar",
        "encoding": [
          "x": [
            "field": "layer", "type": "nominal", "sort": .bool(false), "title": .string(""),
            "axis": ["labelAngle": -60, "labelLimit": 220],
          ],
          "y": ["field": "value", "type": "quantitative", "title": .string(axis)],
          "xOffset": several ? ["field": "series"] : ["value": 0],
          "color": ["field": "series", "type": "nominal", "title": .string("")],
        ],
      ])
  }

  /// Points of one value against another, labelled and coloured by kind.
  static func points(
    _ title: String, _ rows: [(name: String, x: Double, y: Double)], x: String, y: String
  ) -> Chart {
    let values = rows.map {
      JSONValue.object([("name", .string($0.name)), ("x", .number($0.x)), ("y", .number($0.y))])
    }
    let position: JSONValue = [
      "x": ["field": "x", "type": "quantitative", "title": .string(x), "scale": ["zero": false]],
      "y": ["field": "y", "type": "quantitative", "title": .string(y), "scale": ["zero": false]],
    ]
    return Chart(
      title: title,
      specification: [
        "width": 560, "height": 300,
        "data": .object([("values", .array(values))]),
        "encoding": position,
        "layer": [
          [
            "mark": ["type": "point", "filled": true, "size": 90],
            "encoding": ["color": ["field": "name", "type": "nominal", "title": .string("")]],
          ],
          [
            "mark": ["type": "text", "align": "left", "dx": 8, "dy": -6],
            "encoding": ["text": ["field": "name"]],
          ],
        ],
      ])
  }

  /// The charts as SVG texts, drawn by the `vl-convert-python` package.
  ///
  /// Throws where Python or the package is missing: a report is then made without pictures.
  static func render(_ charts: [Chart]) throws -> [String] {
    let encoder = JSONEncoder()
    let input = try encoder.encode(charts.map(\.specification))
    let output = try Python.run(
      """
      import json, sys
      import vl_convert
      charts = json.load(sys.stdin)
      json.dump([vl_convert.vegalite_to_svg(chart) for chart in charts], sys.stdout)
      """, input: input, needs: "vl-convert-python")
    return try JSONDecoder().decode([String].self, from: output)
  }
}
