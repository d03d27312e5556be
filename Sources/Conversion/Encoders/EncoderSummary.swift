import Encoders

/// The figures of an encoder that tell whether to use it.
public struct EncoderSummary: Codable, Sendable {
  /// The name that a spec calls it by.
  public var name: String
  /// t.
  public var tile: Int
  /// R.
  public var rank: Int
  /// ‖T − Σ u⊗v⊗w‖² / t³: the relative squared error of the product of random matrices.
  public var error: Double
  /// The coefficient of largest magnitude.
  public var largestCoefficient: Double
  /// Σ ‖u‖² ‖v‖² ‖w‖² / t³: how much rounding noise grows.
  public var noiseGain: Double
  /// Dense multiply-adds over those of the products alone.
  public var productSpeedUp: Double
  /// Dense multiply-adds over all of a square layer's, encoding and decoding counted.
  public var speedUp: Double

  /// Summarises an encoder for a square layer of the given width.
  public init(_ encoder: Encoder, width: Int) {
    name = encoder.name
    tile = encoder.tile
    rank = encoder.rank
    error = encoder.error
    largestCoefficient = encoder.largestCoefficient
    noiseGain = encoder.noiseGain
    productSpeedUp = 1 / encoder.productRatio
    speedUp = 1 / encoder.costRatio(inputs: width, outputs: width)
  }

  /// Encoders as text.
  public static func table(_ summaries: [EncoderSummary], width: Int) -> String {
    var table = TextTable([
      "encoder", "tile", "rank", "error", "largest", "noise gain", "products", "at \(width)",
    ])
    for summary in summaries {
      table.append([
        summary.name, "\(summary.tile)", "\(summary.rank)", decimal(summary.error, places: 4),
        decimal(summary.largestCoefficient, places: 2), decimal(summary.noiseGain, places: 1),
        decimal(summary.productSpeedUp, places: 2), decimal(summary.speedUp, places: 2),
      ])
    }
    return table.description
  }
}
