import Foundation
import MLX
import Models
import Operators

/// What chosen layers of a model get from a source of examples.
struct LayerSample {
  /// The layers, in groups that read the same array.
  var groups: [LayerInputs]
  /// What the examples were.
  var examples: ExampleCounts
  /// Tiles that the fits see.
  var tiles: Int

  /// Loads a folder of any kind and runs examples through it.
  ///
  /// Throws a sentence if a pattern matches no layer or there are too few examples, and what
  /// `progress` throws.
  init(
    folder: URL, layers: [LayerPattern], tile: Int, source: ExampleSource,
    progress: (ConversionProgress) throws -> Void
  ) throws {
    let model = try ConvertibleModels.load(folder)
    var source = source
    source.calibration = source.calibration ?? type(of: model).amounts.fitted
    let data = try model.data(from: source)
    guard data.calibration.count > 0, data.heldOut.count > 0 else {
      throw ConversionError(
        "[layers] expected examples to fit on and others to judge by, got "
          + "\(data.calibration.count) and \(data.heldOut.count).")
    }
    groups = try LayerInputs.collect(
      of: model.model, layers: layers, tile: tile, calibration: data.calibration.batches(),
      heldOut: data.heldOut.batches()
    ) { completed, total in
      try progress(ConversionProgress(stage: "calibrate", completed: completed, total: total))
    }
    examples = ExampleCounts(
      unit: type(of: model).amounts.unit, fitted: data.calibration.count,
      judged: data.heldOut.count)
    tiles = try groups.first?.tileMoment().tiles ?? 0
  }
}

/// How many examples layers were fitted on, and judged by.
public struct ExampleCounts: Codable, Hashable, Sendable {
  /// What they are: `texts`, `windows` or `images`.
  public var unit: String
  /// Those that the fits saw.
  public var fitted: Int
  /// Others, that they are judged by.
  public var judged: Int
}

extension ExampleCounts {
  /// A few words, tiles included.
  func summary(tiles: Int) -> String {
    "\(fitted) \(unit) (\(tiles) tiles), judged on \(judged) others"
  }
}
