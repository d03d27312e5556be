import MLX
import Models

/// A model whose results are logits, of tokens or of classes.
protocol LogitModel: ConvertibleModel {
  /// What an evaluation takes of a source.
  func judged(from source: ExampleSource) throws -> Examples

  /// What measures say of a model of this kind.
  func fidelity(_ measures: LogitMeasures) throws -> Fidelity

  /// Throws where the logits of another model are of other things.
  func checkOutputs(like other: Self) throws
}

extension LogitModel {
  func results(of last: MLXArray) -> MLXArray { last }

  func divergence(of results: MLXArray, from reference: MLXArray) -> MLXArray {
    mean(LogitMeasures.divergence(of: results, from: reference))
  }

  func comparison(
    on examples: Examples
  ) throws -> (_ other: any ConvertibleModel) throws -> Fidelity {
    let batches = try examples.batches()
    return { other in
      try self.fidelity(LogitMeasures(of: other.model, against: self.model, on: batches))
    }
  }

  func evaluation(
    on source: ExampleSource, against other: (any ConvertibleModel)?
  ) throws -> Fidelity {
    let examples = try judged(from: source)
    let reference = other as? Self
    try reference.map(checkOutputs)
    return try fidelity(
      LogitMeasures(of: model, against: reference?.model, on: examples.batches()))
  }
}
