import Encoders
import Reports

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
  /// The coefficients of all three tables that are not zero.
  public var nonZeros: Int
  /// What rounding encoded operands and products to bfloat16 adds to random products, relative.
  ///
  /// `nil` for an encoder that is not exact, whose own error hides it.
  public var bfloat16Error: Double?
  /// The multiply-adds of the products over those of the dense layer, R/t³.
  public var productRatio: Double
  /// The same with encode and decode counted, for a layer of the list's K and N.
  public var costRatio: Double

  /// Summarises an encoder for a layer of K inputs and N outputs.
  ///
  /// Cost: four products of 64×64 matrices, number by number, if the encoder is exact.
  public init(_ encoder: Encoder, inputs: Int, outputs: Int) {
    name = encoder.name
    tile = encoder.tile
    rank = encoder.rank
    error = encoder.error
    largestCoefficient = encoder.largestCoefficient
    noiseGain = encoder.noiseGain
    nonZeros = encoder.nonZeros
    bfloat16Error = encoder.isExact ? encoder.roundingError().encodedAndProducts : nil
    productRatio = encoder.productRatio
    costRatio = encoder.costRatio(inputs: inputs, outputs: outputs)
  }
}

/// Encoders side by side, with their cost in a layer of stated sizes.
public struct EncoderList: Codable, Sendable {
  /// K of the layer that ``EncoderSummary/costRatio`` is about.
  public var inputs: Int
  /// N of that layer.
  public var outputs: Int
  /// The encoders.
  public var encoders: [EncoderSummary]

  /// Summarises encoders for a layer of K inputs and N outputs.
  public init(_ encoders: [Encoder] = Encoder.library, inputs: Int, outputs: Int) {
    self.inputs = inputs
    self.outputs = outputs
    self.encoders = encoders.map { EncoderSummary($0, inputs: inputs, outputs: outputs) }
  }

  /// The list as text.
  public var table: String {
    var table = TextTable([
      "encoder", "tile", "rank", "error", "largest", "noise gain", "non-zeros", "bf16", "products",
      "with coding",
    ])
    for encoder in encoders {
      table.append([
        encoder.name, "\(encoder.tile)", "\(encoder.rank)", decimal(encoder.error, places: 4),
        decimal(encoder.largestCoefficient, places: 2), decimal(encoder.noiseGain, places: 1),
        "\(encoder.nonZeros)",
        encoder.bfloat16Error.map { "\(decimal($0 * 100, places: 2))%" } ?? "–",
        decimal(encoder.productRatio), decimal(encoder.costRatio),
      ])
    }
    return """
      \(table)

      error: relative square, of random products; bf16: root mean square that rounding adds
      products: multiply-adds over the dense layer's; with coding: encode and decode counted, for a
      layer of \(inputs) inputs and \(outputs) outputs
      """
  }
}
