import Kernels
import MLX

/// What becomes of the losses of single examples.
public enum LossReduction: String, Sendable {
  /// They are kept.
  case none
  /// Their sum.
  case sum
  /// Their mean.
  case mean

  /// The reduced losses.
  public func reduce(_ loss: MLXArray) -> MLXArray {
    switch self {
    case .none: loss
    case .sum: loss.sum()
    case .mean: loss.mean()
    }
  }
}

/// Low-precision arrays as `float32`: sums of exponentials need it.
private func widened(_ x: MLXArray) -> MLXArray {
  x.dtype == .float64 || x.failure != nil ? x : x.asType(.float32)
}

/// The cross-entropy of targets under softmax(logits), in `float32`.
///
/// `logits` is [..., C]. `targets` holds classes [...] or, with as many axes as the logits,
/// probabilities [..., C]. `weights` [...] multiply the losses of single examples (the mean still
/// divides by their number). With `labelSmoothing` s the target becomes (1 − s) target + s / C.
/// Classes are not checked: the caller has made sure they are below C.
public func crossEntropy(
  logits: MLXArray, targets: MLXArray, weights: MLXArray? = nil, axis: Int = -1,
  labelSmoothing: Float = 0, reduction: LossReduction = .none
) -> MLXArray {
  if let loss = crossEntropyOfRows(logits, targets, axis: axis, labelSmoothing) {
    return reduction.reduce(weights.map { loss * $0 } ?? loss)
  }
  let logits = widened(logits)
  let score =
    targets.ndim == logits.ndim
    ? sum(logits * targets, axis: axis)
    : takeAlong(logits, targets.expandedDimensions(axis: axis), axis: axis).squeezed(axis: axis)
  var loss = logSumExp(logits, axis: axis) - score * (1 - labelSmoothing)
  if labelSmoothing > 0 { loss = loss - logits.mean(axis: axis) * labelSmoothing }
  if let weights { loss = loss * weights }
  return reduction.reduce(loss)
}

/// The losses [...] by one kernel, where there is one for classes along the last axis.
private func crossEntropyOfRows(
  _ logits: MLXArray, _ targets: MLXArray, axis: Int, _ labelSmoothing: Float
) -> MLXArray? {
  guard Device.default == .gpu, logits.ndim > 0, axis == -1 || axis == logits.ndim - 1,
    targets.shape == Array(logits.shape.dropLast()), !targets.dtype.isFloatingPoint
  else { return nil }
  return TrainingKernels.crossEntropy(
    logits.reshaped(-1, logits.dim(logits.ndim - 1)), classes: targets.reshaped(-1),
    smoothing: labelSmoothing
  )?.reshaped(targets.shape)
}

/// The squared differences.
public func mseLoss(
  predictions: MLXArray, targets: MLXArray, reduction: LossReduction = .mean
) -> MLXArray {
  guard predictions.shape == targets.shape || predictions.failure != nil || targets.failure != nil
  else {
    return MLXArray(
      failure: MLXError(
        "[mseLoss] expected predictions and targets of one shape, got \(predictions.shape) and "
          + "\(targets.shape); reshape one of them."))
  }
  return reduction.reduce(square(predictions - targets))
}

/// The cosine of the angle between two arrays along an axis: ⟨x1, x2⟩ / max(‖x1‖ ‖x2‖, eps).
///
/// As in MLX this is the similarity itself, which grows as the arrays align: minimise its negative.
public func cosineSimilarityLoss(
  x1: MLXArray, x2: MLXArray, axis: Int = 1, eps: Float = 1e-8, reduction: LossReduction = .none
) -> MLXArray {
  let norms = norm(x1, axes: [axis]) * norm(x2, axes: [axis])
  return reduction.reduce(sum(x1 * x2, axis: axis) / maximum(norms, eps))
}

/// The Kullback–Leibler divergence Σ eᵗ (t − x) of log-probabilities x from log-probabilities t.
public func klDivLoss(
  inputs: MLXArray, targets: MLXArray, axis: Int = -1, reduction: LossReduction = .none
) -> MLXArray {
  reduction.reduce(sum(exp(targets) * (targets - inputs), axis: axis))
}
