import Foundation
import MLX
import MLXNN
import Models

/// A model that can be converted, with what conversion has to know of its kind: what examples are,
/// what its outputs are for, and how far the outputs of two models are apart.
///
/// Everything else (plans, moments, fits, distillation, reports) goes by the stages of the model.
public protocol ConvertibleModel: AnyObject {
  /// The model of a checkpoint; `nil` if it is of another kind.
  ///
  /// Throws a sentence if it is of this kind and lacks what conversion needs.
  init?(_ checkpoint: any Checkpoint) throws

  /// The model and its folder.
  var checkpoint: any Checkpoint { get }
  /// The model.
  var model: any StagedModel { get }
  /// How many examples the steps of a conversion take where nothing is said.
  static var amounts: ConversionAmounts { get }

  /// Reads examples; throws a sentence where there are none that the model can take.
  func data(from source: ExampleSource) throws -> ConversionData

  /// What the model is for, in the outputs of its last stage: embeddings [B, D], the logits of
  /// tokens [B, T, V] or of classes [B, classes].
  func results(of last: MLXArray) -> MLXArray

  /// How far results are from those of the original: 0 where they are equal, and of second order in
  /// their difference.
  func divergence(of results: MLXArray, from reference: MLXArray) -> MLXArray

  /// What measures the fidelity of other models of the kind to this one on some examples.
  func comparison(
    on examples: Examples
  ) throws -> (_ other: any ConvertibleModel) throws -> Fidelity

  /// What the model is worth on a source of examples, alone or beside another.
  func evaluation(
    on source: ExampleSource, against other: (any ConvertibleModel)?
  ) throws -> Fidelity
}

/// How many examples the steps of a conversion take.
public struct ConversionAmounts: Hashable, Sendable {
  /// What examples are: `texts`, `windows` of tokens, `images`.
  public var unit: String
  /// Examples that the fits see: enough for full moments, few enough to keep hidden states of.
  public var fitted: Int
  /// Examples that the sensitivity of layers is measured on.
  public var probed: Int
  /// Examples of a batch of the timed model.
  public var timed: Int
  /// The fewest examples that the measures need.
  public var judged: Int
}

/// The kinds of models that can be converted: the one place that lists them.
public enum ConvertibleModels {
  private static var kinds: [any ConvertibleModel.Type] {
    [ConvertibleSentenceEncoder.self, ConvertibleLanguageModel.self, ConvertibleClassifier.self]
  }

  /// Loads a folder of any kind; with `insisting` also one whose Strassen-Tile layers let it see
  /// later tokens.
  ///
  /// Throws a sentence if conversion has no use for the model, and what loading throws.
  public static func load(
    _ folder: URL, insisting: Bool = false
  ) throws -> any ConvertibleModel {
    let checkpoint = try ModelRegistry.load(
      CheckpointFolder(url: folder), structuredLayers: .standard(insisting: insisting))
    checkpoint.module.train(false)
    for kind in kinds {
      if let model = try kind.init(checkpoint) { return model }
    }
    throw ConversionError(
      "[convert] expected a sentence encoder, a language model or a classifier of images, got "
        + "model_type \"\(type(of: checkpoint.module).modelType)\".")
  }
}

/// Throws if a token would be read from outside a model's table: MLX does not check that.
func checkTokens(_ tokens: some Sequence<Int32>, vocabularySize size: Int) throws {
  guard let wrong = tokens.first(where: { $0 < 0 || $0 >= size }) else { return }
  throw ConversionError(
    "[tokens] expected tokens from 0 to \(size - 1), got \(wrong); check that the tokenizer "
      + "belongs to this model.")
}
