import Foundation
import Kernels
import MLX

/// Adam with decoupled weight decay and bias correction, as PyTorch has it.
///
/// With m ← β₁ m + (1 − β₁) g and v ← β₂ v + (1 − β₂) g², after the tth update
/// p ← (1 − η λ) p − η m̂ / (√v̂ + ε), where m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ). t counts the
/// optimiser's updates, also for parameters that joined later.
///
/// Source: Loshchilov, Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.
open class AdamW: OptimizerBase {
  /// β₁ and β₂, the decay rates of the moments.
  public let betas: (Float, Float)
  /// ε, what is added to the root of the second moment.
  public let eps: Float
  /// λ, the weight decay.
  public let weightDecay: Float

  /// An optimiser; `group` says which parameters are treated otherwise.
  public init(
    learningRate: Float, betas: (Float, Float) = (0.9, 0.999), eps: Float = 1e-8,
    weightDecay: Float = 0.01, group: @escaping (String) -> ParameterGroup = { _ in .init() }
  ) {
    self.betas = betas
    self.eps = eps
    self.weightDecay = weightDecay
    super.init(learningRate: learningRate, group: group)
  }

  /// The first and the second moment.
  open override var stateNames: [String] { ["m", "v"] }

  /// 1 − β₁ᵗ and √(1 − β₂ᵗ).
  open override func sharedTerms(step: MLXArray) -> [MLXArray] {
    // 1 − βᵗ by expm1: for β₂ = 0.999 and small t the difference would lose ten bits.
    func correction(_ beta: Float) -> MLXArray {
      -expm1(step * log(Double(beta)))
    }
    return [correction(betas.0), sqrt(correction(betas.1))]
  }

  /// The update of the summary.
  open override func applySingle(
    gradient: MLXArray, parameter: MLXArray, state: [MLXArray], _ context: Context
  ) -> (parameter: MLXArray, state: [MLXArray]) {
    let rate = context.learningRate
    let m = betas.0 * state[0] + (1 - betas.0) * gradient
    let v = betas.1 * state[1] + (1 - betas.1) * square(gradient)
    let decayed =
      context.weightDecay && weightDecay != 0 ? parameter * (1 - rate * weightDecay) : parameter
    let change = (m / context.shared[0]) / (sqrt(v) / context.shared[1] + eps)
    return (decayed - rate * change, [m, v])
  }

  /// The same in one pass over each parameter.
  open override func applyByKernels(
    _ all: [Single], rate: MLXArray, shared: [MLXArray], scale: MLXArray?
  ) -> [Update]? {
    guard Device.default == .gpu else { return nil }
    let items = all.map {
      TrainingKernels.AdamWItem(
        gradient: $0.gradient, parameter: $0.parameter, first: $0.state[0], second: $0.state[1],
        multiplier: $0.group.learningRateMultiplier,
        decay: $0.group.weightDecay ? weightDecay : 0)
    }
    return TrainingKernels.adamW(
      items, terms: stacked([rate] + shared + [scale ?? MLXArray(Float(1))]), betas: betas,
      eps: eps
    )?.map { Update(parameter: $0.parameter, rounded: $0.rounded, state: [$0.first, $0.second]) }
  }
}
