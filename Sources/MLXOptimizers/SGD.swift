import MLX

/// Stochastic gradient descent with momentum, as PyTorch has it.
///
/// With g ← g + λ p and b ← μ b + g: p ← p − η b, or p ← p − η (g + μ b) with Nesterov's momentum.
///
/// Source: Sutskever et al., "On the importance of initialization and momentum in deep learning",
/// 2013, section 2, with the learning rate outside b.
open class SGD: OptimizerBase {
  /// μ, the momentum.
  public let momentum: Float
  /// λ, the weight decay.
  public let weightDecay: Float
  /// Whether the momentum looks ahead.
  public let nesterov: Bool

  /// An optimiser; `group` says which parameters are treated otherwise.
  public init(
    learningRate: Float, momentum: Float = 0, weightDecay: Float = 0, nesterov: Bool = false,
    group: @escaping (String) -> ParameterGroup = { _ in .init() }
  ) {
    self.momentum = momentum
    self.weightDecay = weightDecay
    self.nesterov = nesterov
    super.init(learningRate: learningRate, group: group)
  }

  /// The momentum, if there is any.
  open override var stateNames: [String] { momentum == 0 ? [] : ["momentum"] }

  /// The update of the summary.
  open override func applySingle(
    gradient: MLXArray, parameter: MLXArray, state: [MLXArray], _ context: Context
  ) -> (parameter: MLXArray, state: [MLXArray]) {
    var direction = gradient
    if context.weightDecay, weightDecay != 0 { direction = direction + weightDecay * parameter }
    guard momentum != 0 else { return (parameter - context.learningRate * direction, state) }
    let moved = momentum * state[0] + direction
    direction = nesterov ? direction + momentum * moved : moved
    return (parameter - context.learningRate * direction, [moved])
  }
}
