import Encoders
import Reports

/// An encoder that a search found, with what it took to find it.
public struct EncoderFitReport: Codable, Sendable {
  /// Its figures.
  public var encoders: EncoderList
  /// The seed.
  public var seed: UInt64?
  /// The command that finds it again.
  public var command: String?
  /// Rounds of the search.
  public var rounds: Int
  /// Starts explored.
  public var starts: Int
  /// Seconds taken.
  public var seconds: Double
  /// The activation encoder [R, t²] row-major.
  public var activation: [Double]
  /// The weight encoder [R, t²] row-major.
  public var weight: [Double]
  /// The decoder [R, t²] row-major.
  public var decoder: [Double]

  /// Reports on a search, with costs in a layer of K inputs and N outputs.
  public init(_ fit: EncoderFitter.Fit, inputs: Int, outputs: Int) {
    encoders = EncoderList([fit.encoder], inputs: inputs, outputs: outputs)
    seed = fit.encoder.provenance.seed
    command = fit.encoder.provenance.command
    rounds = fit.rounds
    starts = fit.starts
    seconds = fit.elapsed / .seconds(1)
    activation = fit.encoder.activation
    weight = fit.encoder.weight
    decoder = fit.encoder.decoder
  }

  /// The figures as text.
  public var table: String {
    """
    \(encoders.table)

    \(rounds) rounds, \(starts) starts, \(decimal(seconds, places: 0)) s; again by \(command ?? "–")
    """
  }
}
