import MLX
import Operators
import OrderedCollections
import TestSupport
import Testing

@testable import Training

@Suite struct GaussNewtonTests {
  /// A two-layer perceptron with two outputs on seven examples, both layers trained, inputs with a
  /// constant column.
  private struct Small {
    let problem: PerceptronProblem
    let weights: [MLXArray]

    init(examples: Int = 7, inputs: Int = 4, hidden: Int = 9, outputs: Int = 2) {
      let keys = MLXRandom.split(key: MLXRandom.key(5), into: 4)
      let x = concatenated(
        [MLXRandom.normal([examples, inputs], key: keys[0]), MLXArray.ones([examples, 1])], axis: 1)
      problem = PerceptronProblem(
        inputs: x, targets: MLXRandom.normal([examples, outputs], key: keys[1]))
      weights = [
        MLXRandom.normal([hidden, inputs + 1], key: keys[2]) * 0.5,
        MLXRandom.normal([outputs, hidden], key: keys[3]) * 0.3,
      ]
    }

    /// The same problem without knowledge of its layers.
    var function: FunctionProblem {
      let problem = problem
      let count = problem.targets.size
      return FunctionProblem(count: count) { problem.residuals($0) }
    }
  }

  /// The rows of J [n, P], one reverse derivative each.
  private func dense(_ jacobian: some Jacobian) throws -> MLXArray {
    let unit = MLXArray.eye(jacobian.rowCount)
    return stacked(
      try (0..<jacobian.rowCount).map { row in
        concatenated(try jacobian.transposedProduct(unit[row]).map { $0.flattened() }, axis: 0)
      })
  }

  @Test func factorsAreTheDerivatives() throws {
    let small = Small()
    let layered = try #require(
      try small.problem.jacobian(small.weights) as? LayeredJacobian)
    let function = try #require(
      try small.function.jacobian(small.weights) as? FunctionJacobian)
    #expect(layered.rowCount == 14 && function.rowCount == 14)
    let (j, expected) = (try dense(layered), try dense(function))
    #expect(j.shape == [14, 9 * 5 + 2 * 9])
    try expectClose(j, expected, .roundings(32, of: .float32))
    let direction = small.weights.map { MLXRandom.normal($0.shape, key: MLXRandom.key(8)) }
    let flat = concatenated(direction.map { $0.flattened() }, axis: 0)
    let product = matmul(expected, flat.reshaped([flat.size, 1])).flattened()
    try expectClose(try layered.product(direction), product, .roundings(64, of: .float32))
    try expectClose(try function.product(direction), product, .roundings(64, of: .float32))
    let gram = try #require(layered.gram())
    #expect(gram.shape == [14, 14])
    try expectClose(gram, matmul(expected, expected.T), .roundings(64, of: .float32))
  }

  /// Few columns, groups of rows, and more columns than rows of weights: the mean of Q Qᵀ is J Jᵀ.
  @Test(arguments: [3, 14, 40]) func theMeanSketchIsTheGramMatrix(columns: Int) throws {
    let small = Small()
    let jacobian = try small.problem.jacobian(small.weights)
    let gram = try #require(jacobian.gram())
    let keys = MLXRandom.split(key: MLXRandom.key(1), into: 400)
    var total = MLXArray.zeros(gram.shape)
    for key in keys {
      let sketch = try #require(jacobian.sketch(columns: columns, key: key))
      #expect(sketch.dim(0) == 14 && sketch.dim(1) >= min(columns, 5))
      total = total + matmul(sketch, sketch.T)
    }
    // 400 draws: deviations of about 1/√400 of the diagonal, largest of 105 different ones.
    try expectClose(total / 400, gram, .relative(0.2))
  }

  @Test(arguments: [
    GaussNewton.Preconditioner.none, .gram, .sketch(oversampling: 2), .sketch(oversampling: 4),
  ]) func aStepIsTheDenseStep(preconditioner: GaussNewton.Preconditioner) throws {
    let small = Small()
    var optimiser = GaussNewton(
      preconditioner: preconditioner, damping: 1, tolerance: 1e-6, maximumIterations: 300)
    let (moved, report) = try optimiser.step(small.problem, parameters: small.weights)
    let j = try dense(try small.problem.jacobian(small.weights))
    let residuals = small.problem.residuals(small.weights)
    let system = matmul(j, j.T) + MLXArray.eye(14) * report.damping
    let weights = MLXLinalg.solve(system, residuals.reshaped([14, 1]))
    let expected = matmul(j.T, weights).flattened()
    let step = concatenated(
      zip(small.weights, moved).map { ($0 - $1).flattened() }, axis: 0)
    #expect(report.isAccepted && report.systemResidual <= 1e-6)
    try expectClose(step, expected, .relative(1e-4))
  }

  @Test func theFactorNeedsNextToNoIterations() throws {
    let small = Small(examples: 30, inputs: 6, hidden: 64, outputs: 1)
    func iterations(_ preconditioner: GaussNewton.Preconditioner) throws -> Int {
      var optimiser = GaussNewton(preconditioner: preconditioner, damping: 1e-4, tolerance: 1e-4)
      return try optimiser.step(small.problem, parameters: small.weights).report.iterations
    }
    let (none, sketch, gram) = (
      try iterations(.none), try iterations(.sketch(oversampling: 4)), try iterations(.gram)
    )
    #expect(gram <= 3 && gram < sketch && sketch < none, "\(none), \(sketch), \(gram)")
  }

  /// More parameters than residuals: a few steps fit what gradient descent takes thousands for.
  @Test func theLossVanishesInFewSteps() throws {
    let small = Small(examples: 20, inputs: 5, hidden: 128, outputs: 1)
    var weights = small.weights
    var optimiser = GaussNewton(tolerance: 1e-4)
    var losses: [Double] = []
    for _ in 0..<8 {
      let (moved, report) = try optimiser.step(small.problem, parameters: weights)
      weights = moved
      #expect(report.loss <= report.lossBefore)
      losses.append(report.loss)
    }
    #expect(losses.last ?? .infinity < 1e-8, "\(losses)")
  }

  @Test func stepsNeverRaiseTheLoss() throws {
    // Far from the solution and undamped, the linear model misleads.
    let problem = FunctionProblem(count: 2) { parameters in
      let x = parameters[0]
      return concatenated([10 * (x[1..<2] - x[0..<1] * x[0..<1]), 1 - x[0..<1]], axis: 0)
    }
    var weights = [MLXArray([Float(-1.2), 1])]
    var optimiser = GaussNewton(preconditioner: .none, damping: 1e-6, tolerance: 1e-6)
    var loss = Double.infinity
    var refused = 0
    for _ in 0..<60 {
      let (moved, report) = try optimiser.step(problem, parameters: weights)
      #expect(report.loss <= loss)
      loss = report.loss
      refused += report.isAccepted ? 0 : 1
      weights = moved
      if loss < 1e-10 { break }
    }
    // Rosenbrock's valley: its minimum is (1, 1).
    try expectClose(weights[0], MLXArray([Float(1), 1]), .absolute(1e-3))
  }

  /// A linear layer of low rank, fitted to a dense one on given inputs: both factors at once.
  @Test func aLayerOfLowRankIsRefitted() throws {
    let keys = MLXRandom.split(key: MLXRandom.key(2), into: 5)
    let x = MLXRandom.normal([40, 6], key: keys[0])
    let (u, v) = (
      MLXRandom.normal([5, 2], key: keys[1]), MLXRandom.normal([2, 6], key: keys[2])
    )
    let y = matmul(matmul(x, v.T), u.T)
    let problem = FunctionProblem(count: 200) { parameters in
      (matmul(matmul(x, parameters[1].T), parameters[0].T) - y).flattened()
    }
    var weights = [
      u + MLXRandom.normal([5, 2], key: keys[3]) * 0.3,
      v + MLXRandom.normal([2, 6], key: keys[4]) * 0.3,
    ]
    var optimiser = GaussNewton(preconditioner: .none, tolerance: 1e-4)
    var last = Double.infinity
    for _ in 0..<12 {
      let (moved, report) = try optimiser.step(problem, parameters: weights)
      (weights, last) = (moved, report.loss)
    }
    #expect(last < 1e-7)
    try expectClose(matmul(weights[0], weights[1]), matmul(u, v), .relative(1e-3))
  }

  /// What the singular values of the error say can be reached, all parameters at once reach too.
  @Test(arguments: ["lowrank:rank=2", "btt:rank=1", "kronecker"])
  func layersOfAnyStructureAreRefitted(spec: String) throws {
    let layer = try OperatorSpec(parsing: spec).makeOperator(inputs: 6, outputs: 6)
    let keys = MLXRandom.split(key: MLXRandom.key(4), into: 3)
    let (x, truth) = (
      MLXRandom.normal([50, 6], key: keys[0]), layer.initialize(key: keys[1])
    )
    let start = truth.mapValues { $0 + MLXRandom.normal($0.shape, key: keys[2]) * 0.05 }
    var optimiser = GaussNewton(preconditioner: .none, tolerance: 1e-4)
    let (fitted, reports) = try optimiser.refit(
      layer, start, inputs: x, outputs: layer.apply(x, truth), steps: 12)
    let (first, last) = (try #require(reports.first), try #require(reports.last))
    #expect(last.loss < 1e-6 * first.lossBefore, "\(reports.map { $0.loss })")
    #expect(Array(fitted.keys) == Array(layer.shapes.keys))
    try expectClose(layer.apply(x, fitted), layer.apply(x, truth), .relative(2e-3))
  }

  @Test func aFailedArrayIsThrown() {
    let problem = FunctionProblem(count: 3) { matmul($0[0], MLXArray.zeros([5, 5])).flattened() }
    var optimiser = GaussNewton(preconditioner: .none)
    #expect(throws: MLXError.self) {
      try optimiser.step(problem, parameters: [MLXArray.ones([3, 4])])
    }
  }
}
