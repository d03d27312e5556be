import Foundation
import Models
import Reports

/// What a model is worth on a file of texts or a prepared set, alone or beside another model.
public struct Evaluation: Codable, Sendable {
  /// The measures.
  public var fidelity: Fidelity

  /// Evaluates a model: a sentence encoder by its agreement with another or with scores, a language
  /// model by its perplexity, a classifier by its accuracy.
  ///
  /// Throws a sentence if there is nothing to measure, if the models are of different kinds, and what
  /// loading throws.
  public init(folder: URL, against other: URL?, on source: ExampleSource) throws {
    let model = try ConvertibleModels.load(folder)
    let reference = try other.map { try ConvertibleModels.load($0) }
    if let reference, type(of: reference) != type(of: model) {
      throw ConversionError(
        "[evaluate] expected two models of one kind, got a "
          + "\(type(of: model.checkpoint.module).modelType) and a "
          + "\(type(of: reference.checkpoint.module).modelType).")
    }
    fidelity = try model.evaluation(on: source, against: reference)
  }

  /// The figures as text.
  public var table: String {
    var table = TextTable(["\(fidelity.count) \(fidelity.unit.rawValue)", ""])
    for measure in fidelity.measures {
      table.append([measure.title, decimal(fidelity[measure], places: 4)])
    }
    return table.description
  }
}
