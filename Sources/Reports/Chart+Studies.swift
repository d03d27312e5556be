import MLX

extension Chart {
  /// A place in a chart, with the standard deviation of its height if there is one.
  package struct Point {
    package var name: String
    package var x: Double
    package var y: Double
    package var deviation: Double?

    package init(name: String, x: Double, y: Double, deviation: Double? = nil) {
      (self.name, self.x, self.y, self.deviation) = (name, x, y, deviation)
    }
  }

  /// Readable on white and on black.
  private static let config: JSON = [
    "background": .null, "view": ["stroke": "#80808040"],
    "axis": [
      "labelColor": "#808080", "titleColor": "#808080", "gridColor": "#80808030",
      "domainColor": "#808080", "tickColor": "#808080",
    ],
    "legend": ["labelColor": "#808080", "titleColor": "#808080", "labelLimit": 300],
    "header": ["labelColor": "#808080", "titleColor": "#808080"],
  ]

  private static let number =
    "datum.value >= 1000 ? format(datum.value, '~s') : format(datum.value, '.3~g')"

  private static func axis(_ field: String, _ title: String) -> JSON {
    [
      "field": .string(field), "type": "quantitative", "title": .string(title),
      "scale": ["type": "log", "nice": false, "padding": 12],
      // The scale's own labels are none where the axis spans less than a decade.
      "axis": ["labelExpr": .string(number), "tickCount": 6, "labelOverlap": true],
    ]
  }

  /// Panels of curves on the same logarithmic axes, coloured by name.
  package static func panels(
    _ title: String, _ panels: [(title: String, points: [(name: String, x: Double, y: Double)])],
    x: String, y: String
  ) -> Chart {
    let values = panels.flatMap { panel in
      panel.points.map { point -> JSON in
        [
          "panel": .string(panel.title), "name": .string(point.name), "x": .double(point.x),
          "y": .double(point.y),
        ]
      }
    }
    let encoding: JSON = [
      "x": axis("x", x), "y": axis("y", y),
      "color": ["field": "name", "type": "nominal", "title": "", "sort": .null],
      "facet": [
        "field": "panel", "type": "nominal", "title": "", "columns": 4, "sort": .null,
      ],
    ]
    return Chart(
      title: title,
      specification: [
        "width": 170, "height": 150, "config": config, "data": ["values": .array(values)],
        "mark": ["type": "line", "point": true], "encoding": encoding,
      ])
  }

  /// Points on logarithmic axes, coloured by name, with bars of one deviation each way; joined, the
  /// points of a name are one curve.
  package static func costs(
    _ title: String, _ points: [Point], x: String, y: String, isJoined: Bool
  ) -> Chart {
    let values = points.map { point -> JSON in
      let deviation = point.deviation ?? 0
      return [
        "name": .string(point.name), "x": .double(point.x), "y": .double(point.y),
        "low": .double(max(point.y - deviation, point.y / 10)),
        "high": .double(point.y + deviation),
      ]
    }
    let colour: JSON = ["field": "name", "type": "nominal", "title": "", "sort": .null]
    let bars: JSON = [
      "mark": "rule",
      "encoding": [
        "x": axis("x", x), "y": axis("low", y), "y2": ["field": "high"], "color": colour,
      ],
    ]
    let marks: JSON = [
      "mark": isJoined
        ? ["type": "line", "point": true] : ["type": "point", "filled": true, "size": 80],
      "encoding": ["x": axis("x", x), "y": axis("y", y), "color": colour],
    ]
    return Chart(
      title: title,
      specification: [
        "width": 560, "height": 320, "config": config, "data": ["values": .array(values)],
        "layer": [bars, marks],
      ])
  }
}
