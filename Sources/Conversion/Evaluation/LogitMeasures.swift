import Foundation
import MLX
import Models

/// What two models' logits say about targets and about each other, summed over examples.
struct LogitMeasures {
  private var loss = 0.0
  private var referenceLoss = 0.0
  private var hits = 0.0
  private var referenceHits = 0.0
  private var divergence = 0.0
  private var agreement = 0.0
  private var count = 0
  private var hasReference = false
  private var largestTarget = 0

  /// Runs a model, and beside it another one if given, over batches with targets.
  init(
    of model: any StagedModel, against reference: (any StagedModel)?, on batches: [ExampleBatch]
  ) throws {
    hasReference = reference != nil
    for batch in batches {
      let (inputs, targets) = try batch()
      guard let targets else { continue }
      let ours = Self.logProbabilities(model.run(inputs))
      var sums = Self.scores(ours, targets)
      if let reference {
        let theirs = Self.logProbabilities(reference.run(inputs))
        sums += Self.scores(theirs, targets)
        let same = ours.argMax(axis: -1) .== theirs.argMax(axis: -1)
        sums.append(sum(Self.divergence(of: ours, from: theirs)))
        sums.append(same.asType(.float32).sum())
      }
      sums.append(targets.max().asType(.float32))
      let values = try stacked(sums).asArray(Double.self)
      guard values.allSatisfy(\.isFinite) else {
        throw ConversionError("[fidelity] expected finite logits, got NaN or infinity.")
      }
      count += targets.size
      largestTarget = max(largestTarget, Int(values[values.count - 1]))
      (loss, hits) = (loss + values[0], hits + values[1])
      guard reference != nil else { continue }
      (referenceLoss, referenceHits) = (referenceLoss + values[2], referenceHits + values[3])
      (divergence, agreement) = (divergence + values[4], agreement + values[5])
    }
  }

  private static func logProbabilities(_ logits: MLXArray) -> MLXArray {
    let logits = logits.asType(.float32)
    return logits - logSumExp(logits, axis: -1, keepDims: true)
  }

  /// The sum of the cross-entropies of targets [...], and how many the largest logit hits.
  private static func scores(_ logProbabilities: MLXArray, _ targets: MLXArray) -> [MLXArray] {
    let rows = targets.expandedDimensions(axis: -1)
    let hits = logProbabilities.argMax(axis: -1).asType(.int32) .== targets.asType(.int32)
    return [
      -sum(takeAlong(logProbabilities, rows, axis: -1)), hits.asType(.float32).sum(),
    ]
  }

  /// KL(softmax(reference) ‖ softmax(logits)) [...] in nats, of logits [..., C].
  static func divergence(of logits: MLXArray, from reference: MLXArray) -> MLXArray {
    let (ours, theirs) = (logProbabilities(logits), logProbabilities(reference))
    return sum(exp(theirs) * (theirs - ours), axis: -1)
  }

  /// Perplexities of next tokens, and how often the most probable one is the same.
  var languageFidelity: Fidelity {
    var result = Fidelity(unit: .tokens, count: count)
    let tokens = Double(max(1, count))
    result[.perplexity] = exp(loss / tokens)
    guard hasReference else { return result }
    result[.referencePerplexity] = exp(referenceLoss / tokens)
    result[.divergence] = divergence / tokens
    result[.agreement] = agreement / tokens
    return result
  }

  /// Shares of images that are classified rightly, and alike; without the former where the examples
  /// are of classes that the model does not know.
  func classFidelity(classCount: Int) throws -> Fidelity {
    var result = Fidelity(unit: .images, count: count)
    let images = Double(max(1, count))
    let knowsClasses = largestTarget < classCount
    guard knowsClasses || hasReference else {
      throw ConversionError(
        "[evaluate] expected images of the model's \(classCount) classes, got class "
          + "\(largestTarget); use --against.")
    }
    if knowsClasses { result[.accuracy] = hits / images }
    guard hasReference else { return result }
    if knowsClasses { result[.referenceAccuracy] = referenceHits / images }
    result[.divergence] = divergence / images
    result[.agreement] = agreement / images
    return result
  }
}
