import Foundation
import MLX
import MLXNN
import Models

/// What a model's outputs are judged by.
struct Objective {
  let model: any CheckpointModel
  /// The type of the model's weights, to which pixels are converted.
  let dtype: DType
  let labelSmoothing: Float
  let teacher: Teacher?

  /// A model whose outputs are imitated.
  struct Teacher {
    let model: any CheckpointModel
    let weight: Float
    let temperature: Float
  }

  /// The logits [B, T, V] or [B, classes] of a model.
  static func logits(_ model: any CheckpointModel, _ inputs: MLXArray, dtype: DType) -> MLXArray {
    switch model {
    case let model as any LanguageModel: model.logits(tokens: inputs, cache: nil)
    case let model as any ImageClassifier: model.logits(images: inputs.asType(dtype))
    default:
      MLXArray(failure: MLXError("[train] a \(type(of: model).modelType) has no logits."))
    }
  }

  /// The mean over the targets of (1 − w) · cross-entropy + w · T² · KL(teacher ‖ model), where both
  /// distributions are softmax(logits / T).
  ///
  /// Source: Hinton, Vinyals, Dean, "Distilling the knowledge in a neural network", 2015, section 2.
  func loss(_ inputs: MLXArray, _ targets: MLXArray) -> MLXArray {
    let logits = Objective.logits(model, inputs, dtype: dtype)
    let plain = crossEntropy(
      logits: logits, targets: targets, labelSmoothing: labelSmoothing, reduction: .mean)
    guard let teacher else { return plain }
    let temperature = teacher.temperature
    func logProbabilities(_ logits: MLXArray) -> MLXArray {
      let scaled = logits.asType(.float32) / temperature
      return scaled - logSumExp(scaled, axis: -1, keepDims: true)
    }
    let taught = stopGradient(Objective.logits(teacher.model, inputs, dtype: dtype))
    let divergence = klDivLoss(
      inputs: logProbabilities(logits), targets: logProbabilities(taught), reduction: .mean)
    return (1 - teacher.weight) * plain
      + (teacher.weight * temperature * temperature) * divergence
  }

  /// The sum of the cross-entropies, how many targets the largest logit hits, and their number.
  func score(_ batch: Batch) -> [MLXArray] {
    let logits = Objective.logits(model, batch.inputs, dtype: dtype)
    let isShared = batch.targets.ndim == logits.ndim
    let classes = isShared ? batch.targets.argMax(axis: -1) : batch.targets
    let hits = (logits.argMax(axis: -1).asType(.int32) .== classes.asType(.int32)).asType(.float32)
    return [
      crossEntropy(logits: logits, targets: batch.targets, reduction: .sum), hits.sum(),
      MLXArray(Float(hits.size)),
    ]
  }

  /// Throws a sentence where data have more tokens or classes than the model.
  func check(targetCount: Int) throws {
    let (own, name) =
      switch model {
      case let model as any LanguageModel: (model.vocabularySize, "tokens")
      case let model as any ImageClassifier: (model.classCount, "classes")
      default: (targetCount, "targets")
      }
    guard targetCount <= own else {
      throw TrainingError(
        "[data] expected at most the \(own) \(name) of the model, got \(targetCount); make the model "
          + "larger.")
    }
  }

  /// Throws a sentence where a batch is not what the model takes.
  func check(_ batch: Batch) throws {
    if let failure = batch.inputs.failure ?? batch.targets.failure { throw failure }
    let (inputs, targets) = (batch.inputs, batch.targets)
    func fail(_ expected: String, _ got: String) -> TrainingError {
      TrainingError(
        "[data] expected \(expected), got \(got); prepare the data for this model, or change the "
          + "model's sizes.")
    }
    let classCount: Int
    switch model {
    case let model as any LanguageModel:
      guard inputs.ndim == 2, !inputs.dtype.isFloatingPoint, inputs.dim(1) <= model.maximumLength
      else {
        throw fail(
          "tokens [examples, at most \(model.maximumLength)]",
          "\(inputs.shape) of \(inputs.dtype.rawValue)")
      }
      let largest = try max(
        inputs.max().item(Int.self), targets.max().item(Int.self))
      guard largest < model.vocabularySize else {
        throw fail("tokens below the vocabulary \(model.vocabularySize)", "\(largest)")
      }
      guard targets.shape == inputs.shape else {
        throw fail("targets \(inputs.shape) as the tokens", "\(targets.shape)")
      }
      return
    case let model as any ImageClassifier:
      let size = model.imageShape.reduce(1, *)
      let isVector = model is MLPModel && inputs.ndim == 2 && inputs.dim(1) == size
      guard isVector || Array(inputs.shape.dropFirst()) == model.imageShape else {
        throw fail(
          "images [examples, \(model.imageShape.map(String.init).joined(separator: ", "))]",
          "\(inputs.shape)")
      }
      classCount = model.classCount
    default: return
    }
    if targets.ndim == 2 {
      guard targets.shape == [inputs.dim(0), classCount] else {
        throw fail("shares of \(classCount) classes", "targets \(targets.shape)")
      }
    } else {
      let largest = try targets.max().item(Int.self)
      guard targets.shape == [inputs.dim(0)], largest < classCount else {
        throw fail(
          "classes [examples] below \(classCount)", "targets \(targets.shape) up to \(largest)")
      }
    }
  }
}
