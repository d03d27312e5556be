import Foundation
import Operators
import Reports

/// What a conversion did to one layer.
public struct LayerReport: Codable, Hashable, Sendable {
  /// The layer's path in the checkpoint.
  public var path: String
  /// The structure it has now.
  public var spec: String
  /// K.
  public var inputs: Int
  /// N.
  public var outputs: Int
  /// ‖ŷ − y‖ / ‖y‖ on held-out inputs of the original model, right after the fit; `nil` if the
  /// examples never reach the layer.
  public var error: Double?
  /// Numbers stored, without the bias.
  public var parameters: Int
  /// Multiply-adds a row, everything counted.
  public var multiplyAdds: Double
  /// Median milliseconds for the report's rows on this machine.
  public var milliseconds: Double
  /// The dense layer's milliseconds in the same run.
  public var denseMilliseconds: Double

  /// Numbers stored by the dense layer, and its multiply-adds a row.
  public var denseParameters: Int { inputs * outputs }
}

/// The model's fidelity after a stage of the conversion, and what the stage took.
public struct StageReport: Codable, Hashable, Sendable {
  /// `fit`, `distil layers`, `distil end to end`.
  public var name: String
  /// Seconds the stage took.
  public var seconds: Double
  /// The fidelity on held-out examples.
  public var fidelity: Fidelity
}

/// What a conversion did to a model.
public struct ConversionReport: Codable, Hashable, Sendable {
  /// The folder or name of the model.
  public var model: String
  /// The structure asked for, by pattern.
  public var rules: [String]
  /// The stages in order.
  public var stages: [StageReport]
  /// The converted layers.
  public var layers: [LayerReport]
  /// Parameters of the whole model before and after.
  public var modelParameters: [Int]
  /// Milliseconds of the whole model for a batch, before and after, in the same run.
  public var modelMilliseconds: [Double]
  /// The shape of the batch that was timed: texts and tokens, or images and their sides.
  public var batch: [Int]
  /// What the numbers were measured on.
  public var machine: MachineSheet

  /// Multiply-adds a row of the converted layers: before over after.
  public var multiplyAddRatio: Double {
    let dense = layers.reduce(0.0) { $0 + Double($1.denseParameters) }
    return dense / layers.reduce(0.0) { $0 + $1.multiplyAdds }
  }

  /// Parameters of the converted layers: after over before.
  public var parameterShare: Double {
    let dense = layers.reduce(0) { $0 + $1.denseParameters }
    return Double(layers.reduce(0) { $0 + $1.parameters }) / Double(dense)
  }

  /// The fidelity at the end.
  public var fidelity: Fidelity? { stages.last?.fidelity }

  /// The report as a JSON document.
  public func json() throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return try encoder.encode(self)
  }
}
