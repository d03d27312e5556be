import Encoders
import Foundation
import MLX
import MLXNN
import Models
import Operators
import OrderedCollections
import Reports

/// How well structures can stand in for a model's layers without training, at equal cost.
///
/// Each layer is fitted on the inputs that calibration examples give it, and judged on those of other
/// examples. Strassen-Tile at a rank stands beside low rank and BTT of as many multiply-adds (encode
/// and decode counted), and of as many parameters.
public struct FitBenchmark: Codable, Sendable {
  /// A structure fitted to a layer.
  public struct Fit: Codable, Sendable {
    /// The structure.
    public var spec: String
    /// Multiply-adds over the dense layer's.
    public var multiplyAdds: Double
    /// Parameters over the dense layer's.
    public var parameters: Double
    /// ‖ŷ − y‖ / ‖y‖ on held-out inputs.
    public var error: Double
    /// What the fit took; `nil` for what another fit began with.
    public var seconds: Double?
  }

  /// One rank of Strassen-Tile in one layer, with its rivals.
  public struct Row: Codable, Sendable {
    /// The layer's path.
    public var layer: String
    /// K.
    public var inputs: Int
    /// N.
    public var outputs: Int
    /// R.
    public var rank: Int
    /// The encoder of the library, the weight fitted to the inputs.
    public var library: Fit
    /// Encoder, decoder and weight fitted together for this layer.
    public var own: Fit
    /// The same for all layers that read the same inputs, encoded once; `nil` if it is alone.
    public var shared: Fit?
    /// Low rank of as many multiply-adds as ``own``; `nil` where the dense layer has no more.
    public var lowRank: Fit?
    /// BTT of as many multiply-adds as ``own``; `nil` where the dense layer has no more.
    public var btt: Fit?
    /// Low rank of as many parameters as ``own``; `nil` where the dense layer has no more.
    public var lowRankOfEqualParameters: Fit?
    /// BTT of as many parameters as ``own``; `nil` where the dense layer has no more.
    public var bttOfEqualParameters: Fit?
    /// 2:4 of the same layer: half of the multiply-adds, whatever the rank.
    public var twoFour: Fit
  }

  /// The model's folder name.
  public var model: String
  /// Examples the fits saw, and others they are judged by.
  public var examples: ExampleCounts
  /// Tiles that the fits saw.
  public var tiles: Int
  /// How often encoder, decoder and weight took turns.
  public var alternations: Int
  /// The share of white inputs in the norm of Strassen-Tile's fits, by layer.
  public var shrinkage: [String: Double]
  /// The rows.
  public var rows: [Row]
  /// What it was measured on.
  public var machine: MachineSheet

  /// Fits and judges layers of a model; Strassen-Tile of causal models forms tiles across the batch.
  ///
  /// Throws a sentence if a pattern matches no layer or the library lacks a rank for tile 4, and what
  /// `progress` throws.
  public static func run(
    folder: URL, layers: [LayerPattern], ranks: [Int], on source: ExampleSource = ExampleSource(),
    alternations: Int = 4, progress: (ConversionProgress) throws -> Void = { _ in }
  ) throws -> FitBenchmark {
    let encoders = try ranks.map { try Encoder.best(tile: 4, rank: $0) }
    let sample = try LayerSample(
      folder: folder, layers: layers, tile: 4, source: source, progress: progress)
    let groups = sample.groups
    var result = FitBenchmark(
      model: folder.standardizedFileURL.lastPathComponent, examples: sample.examples,
      tiles: sample.tiles, alternations: alternations, shrinkage: [:], rows: [],
      machine: .current())
    let total = groups.reduce(0) { $0 + $1.layers.count } * ranks.count
    for group in groups {
      let moment = try group.tileMoment()
      let share = try moment.shrinkage()
      for layer in group.layers { result.shrinkage[layer.path] = share }
      var rivals = group.layers.indices.map { Rivals(group, $0) }
      for encoder in encoders {
        let shared =
          group.layers.count > 1
          ? try timed {
            try LayerEncoders.fit(
              group.layers.map(\.linear.weight), moment: moment, encoder: encoder,
              rows: group.rows, alternations: alternations)
          } : nil
        for index in group.layers.indices {
          result.rows.append(
            try row(
              group, index, encoder, moment, alternations: alternations, shared: shared,
              rivals: &rivals[index]))
          try progress(
            ConversionProgress(
              stage: "fit", completed: result.rows.count, total: total,
              detail: group.layers[index].path))
        }
      }
    }
    return result
  }

  private static func row(
    _ group: LayerInputs, _ index: Int, _ encoder: Encoder, _ moment: TileMoment,
    alternations: Int, shared: (value: LayerEncoders, seconds: Double)?, rivals: inout Rivals
  ) throws -> Row {
    let layer = group.layers[index]
    let made = try timed {
      try LayerEncoders.fit(
        [layer.linear.weight], moment: moment, encoder: encoder, rows: group.rows,
        alternations: alternations)
    }
    let structure = made.value.layers[0]
    let own = try rivals.judged(structure, made.value.parameters[0], seconds: made.seconds)
    var together: Fit?
    if let shared {
      let structure = shared.value.layers[index]
      let count = Double(group.layers.count)
      var fit = try rivals.judged(
        structure, shared.value.parameters[index], seconds: shared.seconds / count)
      // The input is encoded once for all, and the tables are stored once.
      let saved = 1 - 1 / count
      let tables = Double(2 * encoder.rank * encoder.tileArea)
      let dense = Double(structure.inputs * structure.outputs)
      fit.multiplyAdds -=
        saved * Double(encoder.rank * encoder.tile * structure.inputTiles) / dense
      fit.parameters -= saved * tables / dense
      together = fit
    }
    return Row(
      layer: layer.path, inputs: layer.linear.inputDimensions,
      outputs: layer.linear.outputDimensions, rank: encoder.rank,
      library: try rivals.judged(structure, made.value.startParameters[0], seconds: nil), own: own,
      shared: together, lowRank: try rivals.fit("lowrank", share: own.multiplyAdds),
      btt: try rivals.fit("btt", share: own.multiplyAdds),
      lowRankOfEqualParameters: try rivals.fit("lowrank", share: own.parameters),
      bttOfEqualParameters: try rivals.fit("btt", share: own.parameters),
      twoFour: try rivals.twoFour())
  }

  /// A value and the seconds it took.
  private static func timed<Value>(_ body: () throws -> Value) rethrows -> (
    value: Value, seconds: Double
  ) {
    let clock = ContinuousClock()
    let start = clock.now
    let value = try body()
    return (value, (clock.now - start) / .seconds(1))
  }

  /// The other structures for one layer, each spec fitted once.
  private struct Rivals {
    private let group: LayerInputs
    private let index: Int
    private var fits: [OperatorSpec: Fit] = [:]

    private var inputs: Int { group.layers[index].linear.inputDimensions }
    private var outputs: Int { group.layers[index].linear.outputDimensions }

    init(_ group: LayerInputs, _ index: Int) {
      self.group = group
      self.index = index
    }

    /// The richest member of a family within a share of the dense layer's cost.
    ///
    /// Multiply-adds and parameters of low rank and BTT are the same number.
    mutating func fit(_ family: String, share: Double) throws -> Fit? {
      guard share < 1 else { return nil }
      return try fit(
        StructureFamily(parsing: family).spec(inputs: inputs, outputs: outputs, ratio: 1 / share))
    }

    mutating func twoFour() throws -> Fit { try fit(.twoFour) }

    private mutating func fit(_ spec: OperatorSpec) throws -> Fit {
      if let known = fits[spec] { return known }
      let structure = try spec.makeOperator(inputs: inputs, outputs: outputs)
      let target = try group.target(index)
      let made = try timed { try structure.fit(target) }
      let fit = try judged(structure, made.value, seconds: made.seconds)
      fits[spec] = fit
      return fit
    }

    func judged(
      _ structure: any LinearOperator, _ parameters: Parameters, seconds: Double?
    ) throws -> Fit {
      let dense = Double(inputs * outputs)
      return Fit(
        spec: "\(structure.spec)", multiplyAdds: structure.cost.multiplyAdds / dense,
        parameters: Double(structure.cost.parameters) / dense,
        error: try group.heldOutError(index, structure, parameters), seconds: seconds)
    }
  }
}
