import Encoders
import Foundation
import MLX
import Models
import Reports

/// Error against rank for every family of encoders, as a chart.
public struct EncoderPlot: Codable, Sendable {
  /// One encoder in the chart.
  public struct Point: Codable, Hashable, Sendable {
    /// What kind of encoder it is: `fitted, tile 4`, `Kronecker of tile 2`, `exact`, `groups`.
    public var family: String
    /// Its name.
    public var name: String
    /// t.
    public var tile: Int
    /// R, real products.
    public var rank: Int
    /// The relative squared error of random products.
    public var error: Double

    /// R/t³, what the chart counts from left to right.
    public var share: Double { Double(rank) / Double(tile * tile * tile) }
  }

  /// The points of all families.
  public var points: [Point]

  /// Collects the library, Kronecker products of its encoders for tile 2, and groups.
  ///
  /// The groups' placements are searched for, which takes seconds.
  public init(groups: GroupTable) {
    func point(_ family: String, _ encoder: Encoder) -> Point {
      Point(
        family: family, name: encoder.name, tile: encoder.tile, rank: encoder.rank,
        error: encoder.error)
    }
    let fitted = FittedTable.library.compactMap { try? Encoder.named($0.name) }
    points = ExactTable.library.map { point("exact", $0.encoder) }
    points += fitted.map { point("fitted, tile \($0.tile)", $0) }
    let small = fitted.filter { $0.tile == 2 } + [ExactTable.strassen.encoder]
    for (index, outer) in small.enumerated() {
      points += small[...index].map { point("Kronecker of tile 2", outer.kronecker($0)) }
    }
    points += groups.rows.map {
      Point(
        family: "groups", name: $0.family, tile: groups.tile, rank: $0.rank,
        error: $0.freeReadOutError)
    }
  }

  /// Draws the chart into a file that is whole or absent; its name ends in `.svg` or `.png`.
  ///
  /// Throws a sentence for another ending, or where the Python package `vl-convert-python` is
  /// missing.
  public func write(to url: URL) throws {
    let picture = try Chart.picture(chart, as: try Self.format(of: url))
    try AtomicFile.write(to: url) { try $0.append(picture) }
  }

  /// What a file's name asks for; throws a sentence if it is neither.
  public static func checkFormat(of url: URL) throws { _ = try format(of: url) }

  private static func format(of url: URL) throws -> Chart.Format {
    guard let format = Chart.Format(rawValue: url.pathExtension.lowercased()) else {
      throw ConversionError(
        "[plot] expected a file that ends in .svg or .png, got \(url.lastPathComponent).")
    }
    return format
  }

  /// The products of the paper's operating point, 24 of 64.
  static let paper = 24.0 / 64

  var chart: Chart {
    // A group of more real products than the classical algorithm has is in the table, not here.
    let values = points.filter { $0.share <= 1 }.map { point -> JSON in
      [
        "family": .string(point.family), "name": .string(point.name),
        "share": .double(point.share), "error": .double(point.error),
      ]
    }
    func axis(_ field: String, _ title: String) -> JSON {
      [
        "field": .string(field), "type": "quantitative", "title": .string(title),
        "scale": ["domain": [0, 1]],
      ]
    }
    let x = axis("share", "R / t³: products kept")
    let y = axis("error", "relative squared error of random products")
    let colour: JSON = ["field": "family", "type": "nominal", "title": ""]
    let line: JSON = [
      "data": ["values": [["share": 0, "error": 1], ["share": 1, "error": 0]]],
      "mark": ["type": "line", "strokeDash": [4, 4], "color": "grey"],
      "encoding": ["x": x, "y": y],
    ]
    let lineName: JSON = [
      "data": ["values": [["share": 0.84, "error": 0.17, "text": "keep R of the t³ products"]]],
      "mark": [
        "type": "text", "color": "grey", "align": "left", "dx": -60, "dy": -10, "angle": 35,
      ],
      "encoding": ["x": x, "y": y, "text": ["field": "text"]],
    ]
    let paper: JSON = [
      "data": ["values": [["share": .double(Self.paper)]]],
      "mark": ["type": "rule", "color": "grey"], "encoding": ["x": x],
    ]
    let paperName: JSON = [
      "data": [
        "values": [["share": .double(Self.paper), "error": 0.97, "text": "the paper: 24 of 64"]]
      ],
      "mark": ["type": "text", "color": "grey", "align": "left", "dx": 5],
      "encoding": ["x": x, "y": y, "text": ["field": "text"]],
    ]
    let marks: JSON = [
      "mark": ["type": "point", "filled": true, "size": 45, "opacity": 0.85],
      "encoding": ["x": x, "y": y, "color": colour, "shape": colour],
    ]
    return Chart(
      title: "Error of the encoders",
      specification: [
        "width": 620, "height": 420, "data": ["values": .array(values)],
        "layer": [line, lineName, paper, paperName, marks],
        "config": ["range": ["category": ["scheme": "category10"]]],
      ])
  }
}
