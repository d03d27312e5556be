import MLX

/// Gauss-Newton with damping for squared losses: W ← W − Jᵀ g with (J Jᵀ + μ I) g = r, solved by
/// conjugate gradients that a sketch of J preconditions.
///
/// Brand, Peng, Song, Weinstein, "Training (overparametrized) neural networks in near-linear time"
/// (2021): n residuals of P parameters cost O(P n) a step and iteration, and O(n³) once a step. For
/// more residuals than parameters, or too many for a square of them, use no preconditioner.
public struct GaussNewton {
  /// What makes the conjugate gradients need few iterations.
  public enum Preconditioner: Hashable, Sendable {
    /// Nothing: n does not enter in memory.
    case none
    /// The factor of J Jᵀ + μ I itself, for networks of dense layers: n²(K + N) multiply-adds.
    case gram
    /// The factor of Q Qᵀ + μ I for a sketch Q of so many columns a residual: n K N multiply-adds.
    case sketch(oversampling: Int)
  }

  /// What a step did.
  public struct Report: Hashable, Sendable {
    /// Half the sum of squares before.
    public let lossBefore: Double
    /// Half the sum of squares after; that of before where the step was refused.
    public let loss: Double
    /// Iterations of the conjugate gradients.
    public let iterations: Int
    /// The residual of the linear system that they left, relative to r.
    public let systemResidual: Double
    /// The damping μ that was used.
    public let damping: Double
    /// Whether the parameters moved.
    public let isAccepted: Bool
  }

  /// The preconditioner.
  public let preconditioner: Preconditioner
  /// When the conjugate gradients stop, relative to r.
  public let tolerance: Double
  /// The most iterations.
  public let maximumIterations: Int
  /// The damping μ of the next step, as a share of the mean of J Jᵀ's diagonal.
  public private(set) var damping: Double

  private var key: MLXArray

  /// An optimiser; its damping follows the quality of its steps.
  public init(
    preconditioner: Preconditioner = .sketch(oversampling: 4), damping: Double = 1e-6,
    tolerance: Double = 1e-2, maximumIterations: Int = 200, seed: UInt64 = 0
  ) {
    precondition(damping > 0 && tolerance > 0 && maximumIterations > 0, "positive settings")
    self.preconditioner = preconditioner
    (self.damping, self.tolerance) = (damping, tolerance)
    self.maximumIterations = maximumIterations
    key = MLXRandom.key(seed)
  }

  /// One step: the parameters after it, and what it did.
  ///
  /// A step that would raise the loss is refused, and the next one damped ten times more. Throws the
  /// error of a failed array.
  public mutating func step(
    _ problem: some LeastSquaresProblem, parameters: [MLXArray]
  ) throws -> (parameters: [MLXArray], report: Report) {
    let residuals = problem.residuals(parameters).asType(.float32)
    let jacobian = try problem.jacobian(parameters)
    let before = try GaussNewton.halfSquare(residuals)
    let shift = try damping * scale(jacobian)
    let solution = try solve(jacobian, residuals, shift)
    let direction = try jacobian.transposedProduct(solution.weights)
    let moved = zip(parameters, direction).map { $0 - $1 }
    try eval(moved)
    let after = try GaussNewton.halfSquare(problem.residuals(moved))
    // What the linear model says the loss will be: r − J Jᵀ g is the system's rest plus μ g.
    let model = try GaussNewton.halfSquare(residuals - jacobian.product(direction))
    let gain = (before - after) / max(before - model, Double.leastNormalMagnitude)
    let isAccepted = after < before
    // Marquardt's rule: trust the model more where it was right, less where it was not.
    if !isAccepted {
      damping *= 10
    } else if gain < 0.25 {
      damping *= 4
    } else if gain > 0.75 {
      damping = max(1e-8, damping / 4)
    }
    return (
      isAccepted ? moved : parameters,
      Report(
        lossBefore: before, loss: isAccepted ? after : before, iterations: solution.iterations,
        systemResidual: solution.residual, damping: shift, isAccepted: isAccepted)
    )
  }

  static func halfSquare(_ x: MLXArray) throws -> Double {
    Double(try sum(x * x).item(Float.self)) / 2
  }

  /// The mean of J Jᵀ's diagonal: exact where J Jᵀ is at hand, else ‖Jᵀ z‖² for random signs z
  /// (Hutchinson).
  private mutating func scale(_ jacobian: any Jacobian) throws -> Double {
    let n = jacobian.rowCount
    let keys = MLXRandom.split(key: key)
    key = keys.0
    let signs = MLXRandom.bernoulli(0.5, [n], key: keys.1).asType(.float32) * 2 - 1
    let squares = try jacobian.transposedProduct(signs).map { sum($0 * $0) }
    return Double(try squares.reduce(MLXArray(Float(0)), +).item(Float.self)) / Double(max(1, n))
  }

  private struct Solution {
    let weights: MLXArray
    let iterations: Int
    let residual: Double
  }

  /// Preconditioned conjugate gradients for (J Jᵀ + μ I) g = r.
  private mutating func solve(
    _ jacobian: any Jacobian, _ right: MLXArray, _ shift: Double
  ) throws -> Solution {
    let factor = try factor(jacobian, shift)
    func preconditioned(_ x: MLXArray) -> MLXArray {
      guard let factor else { return x }
      let column = x.reshaped([x.dim(0), 1])
      let half = MLXLinalg.solveTriangular(factor, column)
      return MLXLinalg.solveTriangular(factor.T, half, upper: true).flattened()
    }
    var weights = MLXArray.zeros(like: right)
    var rest = right
    var z = preconditioned(rest)
    var direction = z
    var product = sum(rest * z)
    let size = try sum(right * right).item(Float.self).squareRoot()
    guard size > 0 else { return Solution(weights: weights, iterations: 0, residual: 0) }
    var relative = 1.0
    var iterations = 0
    while iterations < maximumIterations, relative > tolerance {
      let image =
        try jacobian.product(jacobian.transposedProduct(direction)) + direction * Float(shift)
      let length = product / sum(direction * image)
      weights = weights + direction * length
      rest = rest - image * length
      z = preconditioned(rest)
      let next = sum(rest * z)
      direction = z + direction * (next / product)
      product = next
      iterations += 1
      let norm = sum(rest * rest)
      try eval(weights, rest, direction, product, norm)
      let value = Double(try norm.item(Float.self).squareRoot() / size)
      guard value.isFinite else {
        throw MLXError(
          "[gauss-newton] expected a finite residual of the linear system, got \(value) after "
            + "\(iterations) iterations; raise the damping.")
      }
      relative = value
    }
    return Solution(weights: weights, iterations: iterations, residual: relative)
  }

  /// L with L Lᵀ ≈ J Jᵀ + μ I.
  private mutating func factor(_ jacobian: any Jacobian, _ shift: Double) throws -> MLXArray? {
    let n = jacobian.rowCount
    let gram: MLXArray?
    switch preconditioner {
    case .none: return nil
    case .gram: gram = jacobian.gram()
    case .sketch(let oversampling):
      let keys = MLXRandom.split(key: key)
      key = keys.0
      gram = jacobian.sketch(columns: oversampling * n, key: keys.1).map { matmul($0, $0.T) }
    }
    guard let gram else { return nil }
    // Rounding leaves eigenvalues of about −2⁻²⁴ of the largest: the diagonal is raised above them.
    let floor = try Double(sum(diagonal(gram)).item(Float.self)) / Double(n) * 0x1p-18
    return MLXLinalg.cholesky(gram + MLXArray.eye(n) * Float(max(shift, floor)))
  }
}
