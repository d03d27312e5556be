import Foundation
import MLX
import Models

/// A chart as a Vega-Lite specification.
package struct Chart {
  /// What stands above the chart.
  package var title: String
  /// The specification.
  package var specification: JSON

  package init(title: String, specification: JSON) {
    self.title = title
    self.specification = specification
  }

  /// Bars of one value for each layer, coloured by its kind.
  package static func bars(
    _ title: String, _ rows: [(layer: String, series: String, value: Double)], axis: String
  ) -> Chart {
    let values = rows.map { row -> JSON in
      ["layer": .string(row.layer), "series": .string(row.series), "value": .double(row.value)]
    }
    let hasSeries = Set(rows.map(\.series)).count > 1
    let x: JSON = [
      "field": "layer", "type": "nominal", "sort": .null, "title": "",
      "axis": ["labelAngle": -60, "labelLimit": 220],
    ]
    let encoding: JSON = [
      "x": x,
      "y": ["field": "value", "type": "quantitative", "title": .string(axis)],
      "xOffset": hasSeries ? ["field": "series"] : ["value": 0],
      "color": ["field": "series", "type": "nominal", "title": ""],
    ]
    return Chart(
      title: title,
      specification: [
        "width": 720, "height": 220, "data": ["values": .array(values)], "mark": "bar",
        "encoding": encoding,
      ])
  }

  /// Points of one value against another, labelled and coloured by name.
  package static func points(
    _ title: String, _ rows: [(name: String, x: Double, y: Double)], x: String, y: String
  ) -> Chart {
    let values = rows.map { row -> JSON in
      ["name": .string(row.name), "x": .double(row.x), "y": .double(row.y)]
    }
    let position: JSON = [
      "x": ["field": "x", "type": "quantitative", "title": .string(x), "scale": ["zero": false]],
      "y": ["field": "y", "type": "quantitative", "title": .string(y), "scale": ["zero": false]],
    ]
    let points: JSON = [
      "mark": ["type": "point", "filled": true, "size": 90],
      "encoding": ["color": ["field": "name", "type": "nominal", "title": ""]],
    ]
    let labels: JSON = [
      "mark": ["type": "text", "align": "left", "dx": 8, "dy": -6],
      "encoding": ["text": ["field": "name"]],
    ]
    return Chart(
      title: title,
      specification: [
        "width": 560, "height": 300, "data": ["values": .array(values)], "encoding": position,
        "layer": [points, labels],
      ])
  }

  /// Curves of one value against another, coloured by name; `logarithmic` is about the y axis.
  package static func lines(
    _ title: String, _ rows: [(name: String, x: Double, y: Double)], x: String, y: String,
    logarithmic: Bool = false
  ) -> Chart {
    let values = rows.map { row -> JSON in
      ["name": .string(row.name), "x": .double(row.x), "y": .double(row.y)]
    }
    let scale: JSON = logarithmic ? ["type": "log"] : ["zero": false]
    let encoding: JSON = [
      "x": ["field": "x", "type": "quantitative", "title": .string(x)],
      "y": ["field": "y", "type": "quantitative", "title": .string(y), "scale": scale],
      "color": ["field": "name", "type": "nominal", "title": ""],
    ]
    return Chart(
      title: title,
      specification: [
        "width": 720, "height": 260, "data": ["values": .array(values)],
        "mark": ["type": "line", "interpolate": "linear"], "encoding": encoding,
      ])
  }

  /// The charts as SVG texts, drawn by the Python package `vl-convert-python`.
  ///
  /// Throws where Python or the package is missing: a report is then made without pictures.
  package static func render(_ charts: [Chart]) throws -> [String] {
    let output = try draw(
      .array(charts.map(\.specification)),
      "json.dump([vl_convert.vegalite_to_svg(chart) for chart in specification], sys.stdout)")
    return try JSONDecoder().decode([String].self, from: Data(output))
  }

  /// A picture's file format, by the ending of its name.
  package enum Format: String {
    case svg, png
  }

  /// A chart as the bytes of a picture file.
  ///
  /// Throws where Python or the package is missing.
  package static func picture(_ chart: Chart, as format: Format) throws -> [UInt8] {
    switch format {
    case .svg:
      try draw(chart.specification, "sys.stdout.write(vl_convert.vegalite_to_svg(specification))")
    case .png:
      try draw(
        chart.specification,
        "sys.stdout.buffer.write(vl_convert.vegalite_to_png(specification, scale=2))")
    }
  }

  /// Runs Python on a specification and returns what it writes.
  private static func draw(_ specification: JSON, _ statement: String) throws -> [UInt8] {
    try PythonInterpreter.find().run(
      """
      import json, sys
      try:
          import vl_convert
      except ImportError:
          sys.exit(print("vl-convert-python", file=sys.stderr) or \
      \(PythonInterpreter.missingPackageCode))
      specification = json.load(sys.stdin)
      \(statement)
      """, arguments: [], input: Array(specification.encoded().utf8), task: "draw charts")
  }
}
