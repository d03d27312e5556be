import Encoders
import Foundation
import MLX
import MLXNN
import Models
import Operators
import OrderedCollections
import Reports

/// Encoders made for layers of a model on its real inputs, and what that gained.
public struct LayerEncoderReport: Codable, Sendable {
  /// How encoders are made.
  public struct Options: Sendable {
    /// The encoder to start from.
    public var encoder: Encoder
    /// How often encoder, decoder and weight take turns.
    public var alternations: Int
    /// Whether each layer gets encoders of its own, also where it shares its input with others.
    public var separately: Bool
    /// The share of white inputs in the norm, or `nil` to derive it from the number of tiles.
    public var shrinkage: Double?

    /// Makes options.
    public init(
      encoder: Encoder, alternations: Int = 4, separately: Bool = false, shrinkage: Double? = nil
    ) {
      self.encoder = encoder
      self.alternations = alternations
      self.separately = separately
      self.shrinkage = shrinkage
    }
  }

  /// One layer; errors are ‖ŷ − y‖ / ‖y‖.
  public struct Row: Codable, Sendable {
    /// The layer's path.
    public var layer: String
    /// The layers that have the same encoder, itself included.
    public var sharedBy: Int
    /// The error on held-out inputs with the encoder started from, its weight fitted.
    public var startError: Double
    /// The error on held-out inputs with the encoders made.
    public var error: Double
    /// The error on the inputs of the fit, their mean aside.
    public var fitError: Double
    /// The share of white inputs in the norm.
    public var shrinkage: Double
    /// What to beware of, with numbers.
    public var warning: String?
  }

  /// The model's folder name.
  public var model: String
  /// The encoder started from.
  public var encoder: String
  /// Examples the fits saw, and others they are judged by.
  public var examples: ExampleCounts
  /// Tiles that the fits saw.
  public var tiles: Int
  /// A row a layer.
  public var rows: [Row]

  /// Makes encoders for the layers that match, and hands back their parameters too.
  ///
  /// The parameters are those of a converted checkpoint, `<layer>.stl.weight`, `.encoder`,
  /// `.decoder`, and `<layer>.bias` where the layer has one. Throws a sentence if a pattern matches no layer, and what
  /// `progress` throws.
  public static func run(
    folder: URL, layers: [LayerPattern], options: Options,
    on source: ExampleSource = ExampleSource(),
    progress: (ConversionProgress) throws -> Void = { _ in }
  ) throws -> (report: LayerEncoderReport, parameters: [String: MLXArray]) {
    let sample = try LayerSample(
      folder: folder, layers: layers, tile: options.encoder.tile, source: source,
      progress: progress)
    let groups = sample.groups
    var report = LayerEncoderReport(
      model: folder.standardizedFileURL.lastPathComponent, encoder: options.encoder.name,
      examples: sample.examples, tiles: sample.tiles, rows: [])
    var parameters: [String: MLXArray] = [:]
    let total = groups.reduce(0) { $0 + $1.layers.count }
    for group in groups {
      for indices in options.separately
        ? group.layers.indices.map({ [$0] }) : [Array(group.layers.indices)]
      {
        let made = try report.add(group, indices, options)
        parameters.merge(made) { $1 }
        try progress(
          ConversionProgress(
            stage: "fit", completed: report.rows.count, total: total,
            detail: report.rows.last?.layer))
      }
    }
    return (report, parameters)
  }

  private mutating func add(
    _ group: LayerInputs, _ indices: [Int], _ options: Options
  ) throws -> [String: MLXArray] {
    let moment = try group.tileMoment()
    let made = try LayerEncoders.fit(
      indices.map { group.layers[$0].linear.weight }, moment: moment, encoder: options.encoder,
      rows: group.rows, alternations: options.alternations, shrinkage: options.shrinkage)
    var parameters: [String: MLXArray] = [:]
    for (place, index) in indices.enumerated() {
      func error(_ parameters: [Parameters]) throws -> Double {
        try group.heldOutError(index, made.layers[place], parameters[place])
      }
      let path = group.layers[index].path
      rows.append(
        Row(
          layer: path, sharedBy: indices.count, startError: try error(made.startParameters),
          error: try error(made.parameters), fitError: made.errors[place],
          shrinkage: made.shrinkage, warning: made.warning))
      for (name, array) in made.parameters[place] { parameters["\(path).stl.\(name)"] = array }
      parameters["\(path).bias"] = try group.bias(
        index, made.layers[place], made.parameters[place])
    }
    return parameters
  }

  /// The report as text, warnings below.
  public var table: String {
    var table = TextTable([
      "layer", "shared by", "\(encoder)", "made for it", "on what it was fitted to", "white share",
    ])
    for row in rows {
      table.append([
        row.layer, "\(row.sharedBy)", decimal(row.startError), decimal(row.error),
        decimal(row.fitError), decimal(row.shrinkage),
      ])
    }
    let warnings = rows.compactMap { row in row.warning.map { "\(row.layer): \($0)" } }
    return """
      \(model), \(examples.summary(tiles: tiles)): ‖ŷ − y‖ / ‖y‖
      \(([table.description] + warnings).joined(separator: "\n"))
      """
  }
}
