import MLX
import TestSupport
import Testing

@testable import Kernels
@testable import Operators

@Suite struct FactorMethodTests {
  private let pattern = KroneckerPattern(2, 3, 5, 4)
  private let w = MLXRandom.normal([2, 3, 5, 4], key: MLXRandom.key(1))
  private let x = MLXRandom.normal([7, 40], key: MLXRandom.key(2))

  /// In every process: a dictionary has its own order.
  @Test func ofEqualMethodsTheFirstIsTaken() {
    let methods = FactorMethod.allCases
    for (index, first) in methods.enumerated() {
      for other in methods[(index + 1)...] {
        let choice = FactorChoice(predictions: [other: 1e-5, first: 1e-5], obstacles: [:])
        #expect(choice.method == first)
        let faster = FactorChoice(predictions: [other: 1e-6, first: 1e-5], obstacles: [:])
        #expect(faster.method == other)
      }
    }
    #expect(FactorChoice(predictions: [:], obstacles: [:]).method == .composed)
  }

  @Test func everyMethodAndLayoutIsTheProductWithTheMatrix() throws {
    let tolerance = Tolerance.relative(Device.default == .gpu ? 1e-2 : 1e-5)
    let expected = matmul(x, pattern.matrix(w).transposed())
    let choice = try pattern.choice(rows: 7, dtype: .float32)
    for method in choice.predictions.keys {
      try expectClose(pattern.product(x, w, by: method), expected, tolerance)
    }
    let last = try pattern.choice(rows: 7, dtype: .float32, layout: .last)
    for method in last.predictions.keys {
      try expectClose(
        pattern.product(x.transposed(), w, by: method, layout: .last), expected.transposed(),
        tolerance)
    }
    try expectClose(pattern.einsumProduct(x, w), expected, tolerance)
    try expectClose(
      pattern.einsumProduct(x.transposed(), w, layout: .last), expected.transposed(), tolerance)
    #expect(choice.predictions[choice.method] == choice.predictions.values.min())
    #expect(
      Set(choice.predictions.keys).union(choice.obstacles.keys) == Set(FactorMethod.allCases))
  }

  @Test(arguments: [
    (KroneckerPattern(8, 48, 48, 1), 2, false, KroneckerShape(2, 192, 192, 1)),
    (KroneckerPattern(6, 96, 64, 1), 2, false, KroneckerShape(3, 192, 128, 1)),
    (KroneckerPattern(8, 48, 48, 1), 4, false, KroneckerShape(4, 96, 96, 1)),
    (KroneckerPattern(8, 48, 48, 1), 4, true, KroneckerShape(8, 48, 48, 1)),
    (KroneckerPattern(5, 48, 48, 1), 2, false, KroneckerShape(5, 48, 48, 1)),
    (KroneckerPattern(8, 64, 64, 1), 2, false, KroneckerShape(8, 64, 64, 1)),
    (KroneckerPattern(8, 32, 32, 1), 4, false, KroneckerShape(4, 64, 64, 1)),
    (KroneckerPattern(8, 24, 48, 1), 2, false, KroneckerShape(8, 24, 48, 1)),
    (KroneckerPattern(8, 48, 48, 2), 2, false, KroneckerShape(8, 48, 48, 2)),
  ])
  func mergedBlocksAreTheSameMatrix(
    _ pattern: KroneckerPattern, size: Int, isExact: Bool, expected: KroneckerShape
  ) throws {
    let merged = pattern.shape.merged(elementSize: size, allowsTF32: !isExact)
    #expect(merged == expected)
    let w = MLXRandom.normal(
      [pattern.a, pattern.b, pattern.c, pattern.d], key: MLXRandom.key(3))
    let other = KroneckerPattern(merged.a, merged.b, merged.c, merged.d)
    try expectClose(
      other.matrix(pattern.shape.merge(w, into: merged)), pattern.matrix(w), .relative(0))
    let gradient = grad { sum(pattern.shape.merge($0, into: merged) * 2) }(w)
    try expectClose(gradient, MLXArray.full(w.shape, values: MLXArray(2.0 as Float)), .relative(0))
  }

  /// Many rows are permuted in parts, for MLX's sake: the same product.
  @Test func aLongBatchIsThatOfItsParts() throws {
    let wide = KroneckerPattern(1, 2, 1 << 21, 2)
    let w = MLXRandom.normal([1, 2, 1 << 21, 2], key: MLXRandom.key(4))
    let x = MLXRandom.normal([3, wide.inputs], key: MLXRandom.key(5))
    let whole = wide.product(x, count: 3, w)
    let rows = (0..<3).map { wide.product(x[$0..<($0 + 1)], count: 1, w) }
    try expectClose(whole, concatenated(rows, axis: 0), .relative(1e-4))
  }

  @Test func methodsThatAreNotThereFail() {
    #expect(pattern.product(x, w, by: .kernel, layout: .last).failure != nil)
    if Device.default == .cpu {
      #expect(pattern.product(x, w, by: .strided).failure != nil)
      #expect(pattern.product(x.transposed(), w, by: .strided, layout: .last).failure != nil)
    }
  }

  /// The steps of a chain, composed, are its definition: what the GPU's methods are held against.
  @Test(arguments: [
    "btt:rank=2", "monarch:blocks=3", "ks:2x3x3x2+1x6x12x1", "btt:rank=1,norm=true",
    "lowrank:rank=5",
  ])
  func stepsComposedAreTheDefinition(_ text: String) throws {
    let structure = try OperatorSpec(parsing: text).makeOperator(inputs: 12, outputs: 6)
    let chain = try #require(structure as? any FactorOperator)
    let parameters = structure.initialize(key: MLXRandom.key(8))
    let rows = MLXRandom.normal([9, 12], key: MLXRandom.key(9))
    var y = paddedColumns(rows, to: chain.steps[0].inputs)
    var weights = chain.chainWeights(parameters)[...]
    for step in chain.steps {
      y = step.product(.composed, y, Array(weights.prefix(step.count)))
      weights = weights.dropFirst(step.count)
    }
    #expect(weights.isEmpty)
    try expectClose(y[0..., 0..<6], structure.apply(rows, parameters), .relative(1e-5))
  }

  @Test func anEpilogueIsWhatItsKernelsWrite() throws {
    let y = MLXArray([-1.0, 0.5]).reshaped(1, 2)
    let epilogue = FactorEpilogue(
      bias: MLXArray([1.0, 2.0]), activation: .silu, gate: MLXArray([2.0, 3.0]).reshaped(1, 2),
      residual: MLXArray([0.25, 0.5]).reshaped(1, 2))
    let silu = 2.5 / (1 + 0.0820849986)
    expectClose(try epilogue(y).asArray(Double.self), [0.25, silu * 3 + 0.5], .relative(1e-5))
  }

  /// A step's product may have another method's gradients: they are the same.
  @Test func gradientsByAnotherMethodAreTheSame() throws {
    let pair = BlockPair(inputs: 12, outputs: 15, m0: 3, m1: 4, n0: 5, n1: 3, rank: 2)
    let keys = MLXRandom.split(key: MLXRandom.key(3), into: 6)
    let steps: [(FactorStep, [[Int]])] = [
      (.pair(pair), [[4, 3, 10], [5, 8, 3]]), (.factor(pattern), [[2, 3, 5, 4]]),
    ]
    for (step, shapes) in steps {
      let rows = MLXRandom.normal([6, step.inputs], key: keys[0])
      let weights = zip(shapes, keys[1...]).map { MLXRandom.normal($0, key: $1) }
      let extras = [
        MLXRandom.normal([step.outputs], key: keys[3]),
        MLXRandom.normal([6, step.outputs], key: keys[4]),
      ]
      let cotangent = MLXRandom.normal([6, step.outputs], key: keys[5])
      func results(_ method: FactorMethod, _ other: FactorMethod) throws -> [MLXArray] {
        let (values, gradients) = try vjp(
          { inputs in
            [
              step.product(
                method, gradientsBy: other, inputs[0], Array(inputs[1...weights.count]),
                FactorEpilogue(
                  bias: inputs[weights.count + 1], activation: .silu,
                  residual: inputs[weights.count + 2]))
            ]
          }, primals: [rows] + weights + extras, cotangents: [cotangent])
        return values + gradients
      }
      let expected = try results(.composed, .composed)
      for (method, other) in [(FactorMethod.composed, FactorMethod.matrix), (.matrix, .composed)] {
        for (ours, theirs) in zip(try results(method, other), expected) {
          try expectClose(ours, theirs, .relative(2e-5))
        }
      }
    }
  }

  /// What a method makes of the weights once gives its product.
  @Test func preparedWeightsGiveTheProduct() throws {
    let expected = pattern.product(x, w, by: .composed)
    for method in [FactorMethod.composed, .matrix] {
      let prepared = pattern.prepare(w, by: method, rows: 7)
      try expectClose(pattern.product(x, prepared: prepared, by: method), expected, .relative(1e-5))
    }
    if Device.default == .cpu {
      let missing = pattern.prepare(w, by: .warpgroups, rows: 7)
      #expect(pattern.product(x, prepared: missing, by: .warpgroups).failure != nil)
    }
  }
}
