import Foundation
import MLX
import MLXNN

/// How rotary positions beyond those of the pretraining are brought into its range.
public enum RoPEScaling: Hashable, Sendable {
  /// They are not.
  case none
  /// All positions are divided by a factor.
  ///
  /// Source: Chen, Wong, Chen, Tian, "Extending context window of large language models via
  /// positional interpolation", 2023, equation 4.
  case linear(factor: Double)
  /// Pairs that turn less than `low` times within `length` tokens turn slower by a factor, those that
  /// turn more than `high` times as before, those between by a mean of both.
  ///
  /// Source: Llama 3.1; as transformers has it.
  case llama3(factor: Double, low: Double, high: Double, length: Int)

  /// Where checkpoints keep it, older ones under the first.
  static let keys = ["rope_scaling", "rope_parameters"]

  /// Reads `config.json`; kinds that are not known throw.
  init(_ file: ConfigurationFile) throws {
    self = .none
    for key in Self.keys {
      guard let section = try file.section(key) else { continue }
      let older = try section.string("type", default: "default")
      switch try section.string("rope_type", default: older) {
      case "default": continue
      case "linear":
        self = .linear(factor: try section.positiveNumber("factor"))
      case "llama3":
        let low = try section.positiveNumber("low_freq_factor")
        let high = try section.positiveNumber("high_freq_factor")
        guard low < high else {
          throw CheckpointError.illTyped(
            file: file.path, key: "\(key).high_freq_factor",
            expected: "a number above low_freq_factor \(low)", got: "\(high)")
        }
        self = .llama3(
          factor: try section.positiveNumber("factor"), low: low, high: high,
          length: try section.integer("original_max_position_embeddings"))
      case let type:
        throw CheckpointError.unsupported(
          file: file.path, key: "\(key).rope_type", expected: "default, linear, llama3",
          got: "\"\(type)\"")
      }
      return
    }
  }

  /// The section of a `config.json`, with the base.
  func object(base: Float) -> JSON.Object {
    var object = JSON.Object()
    object["rope_theta"] = .number("\(base)")
    switch self {
    case .none: object["rope_type"] = .string("default")
    case .linear(let factor):
      object["rope_type"] = .string("linear")
      object["factor"] = .double(factor)
    case .llama3(let factor, let low, let high, let length):
      object["rope_type"] = .string("llama3")
      object["factor"] = .double(factor)
      object["low_freq_factor"] = .double(low)
      object["high_freq_factor"] = .double(high)
      object["original_max_position_embeddings"] = .integer(length)
    }
    return object
  }

  /// The embedding of positions for heads of a size.
  func makeRoPE(dimensions: Int, base: Float) -> RoPE {
    switch self {
    case .none: RoPE(dimensions: dimensions, base: base)
    case .linear(let factor):
      RoPE(dimensions: dimensions, base: base, scale: Float(1 / factor))
    case .llama3:
      UnevenRoPE(dimensions: dimensions, periods: periods(dimensions: dimensions, base: base))
    }
  }

  /// Tokens a radian of each pair of components [dimensions / 2].
  func periods(dimensions: Int, base: Float) -> [Double] {
    (0..<dimensions / 2).map { pair in
      let period = pow(Double(base), 2 * Double(pair) / Double(dimensions))
      guard case .llama3(let factor, let low, let high, let length) = self else { return period }
      // How often the pair turns within the tokens of the pretraining; 0 and 1 are the ends of the
      // range between.
      let turns = Double(length) / (2 * .pi * period)
      let share = min(1, max(0, (turns - low) / (high - low)))
      return period / ((1 - share) / factor + share)
    }
  }
}

/// Rotary positions whose pairs turn at rates of their own.
final class UnevenRoPE: RoPE {
  /// Tokens a radian [dimensions / 2].
  private let _periods: MLXArray

  init(dimensions: Int, periods: [Double]) {
    _periods = MLXArray(periods.map { Float($0) }, [periods.count])
    super.init(dimensions: dimensions)
  }

  override func callAsFunction(_ x: MLXArray, offset: Int) -> MLXArray {
    MLXFast.RoPE(
      x, dimensions: dimensions, traditional: traditional, base: base, scale: 1, offset: offset,
      freqs: _periods)
  }
}
