import Kernels
import MLX
import TestSupport
import Testing

@testable import Operators

/// Factors multiplied into one: the same matrix, and never a division that is expected to be slower.
@Suite struct ChainPartTests {
  private let h200 = GPU(
    major: 9, minor: 0, multiprocessors: 132, clock: 1.98e9, busBandwidth: 4.92e12,
    cache: 50 << 20)

  private func factors(_ text: String) -> [KroneckerPattern] {
    guard case .kroneckerSparse(let patterns)? = try? OperatorSpec(parsing: text) else { return [] }
    return patterns
  }

  /// A butterfly of 2^L numbers with blocks of 2 × 2, the closest numbers first.
  private func butterfly(_ stages: Int) -> [KroneckerPattern] {
    (0..<stages).map { KroneckerPattern(1 << (stages - 1 - $0), 2, 2, 1 << $0) }
  }

  @Test(arguments: [
    "ks:4x3x5x1+1x7x4x3", "ks:6x4x5x2+2x3x6x4", "ks:2x6x1x3+2x2x3x6", "ks:8x2x2x1+4x2x2x2",
    "ks:4x3x5x1+1x6x4x3+1x2x6x3",
  ])
  func theMergedFactorIsTheProductOfTheMatrices(_ text: String) throws {
    let patterns = factors(text)
    var weights: [MLXArray] = []
    for (index, p) in patterns.enumerated() {
      // Small integers: sums are exact.
      weights.append(
        MLXRandom.randInt(
          low: -3, high: 4, [p.a, p.b, p.c, p.d], key: MLXRandom.key(UInt64(index))
        )
        .asType(.float32))
    }
    var (pattern, whole, matrix) = (patterns[0], weights[0], patterns[0].matrix(weights[0]))
    for (next, weight) in zip(patterns, weights).dropFirst() {
      let merged = try #require(next.after(pattern))
      whole = try #require(next.weight(weight, after: pattern, whole))
      matrix = matmul(next.matrix(weight), matrix)
      pattern = merged
      #expect(whole.shape == [pattern.a, pattern.b, pattern.c, pattern.d])
    }
    #expect(try arrayEqual(pattern.matrix(whole), matrix).item(Bool.self))
  }

  @Test func onlyFactorsThatMeetEvenlyAreMerged() {
    let p = KroneckerPattern(2, 2, 2, 1)
    #expect(KroneckerPattern(1, 2, 2, 2).after(p) == KroneckerPattern(1, 4, 4, 1))
    #expect(p.after(KroneckerPattern(1, 2, 2, 2)) == nil, "a does not divide")
    #expect(KroneckerPattern(1, 4, 8, 1).after(p) == nil, "other sizes")
    #expect(KroneckerPattern(1, 3, 12, 1).after(KroneckerPattern(2, 3, 5, 2)) == nil, "d")
    #expect(KroneckerPattern(4, 1, 9, 1).after(KroneckerPattern(4, 9, 1, 1))?.c == 1)
  }

  @Test func aButterflyIsMergedWhereItIsExpectedToPay() throws {
    let steps = butterfly(10).map { FactorStep.factor($0) }
    let model = FactorModel(h200)
    for isPrepared in [true, false] {
      let parts = ChainPart.fastest(
        of: steps, isPrepared: isPrepared, rows: 4096, dtype: .bfloat16, model: model)
      #expect(parts.count < 5 && parts.reduce(0) { $0 + $1.count } == 10)
      #expect(parts.contains { $0.name.contains("as factor") })
    }
  }

  /// Every division gives the product that defines the chain, and its gradients.
  @Test func partsAreTheDefinition() throws {
    let patterns = butterfly(5)
    let chain = try KroneckerSparse(inputs: 32, outputs: 32, patterns: patterns)
    let parameters = chain.initialize(key: MLXRandom.key(3))
    let weights = chain.chainWeights(parameters)
    let x = MLXRandom.normal([7, 32], key: MLXRandom.key(4))
    let parts = ChainPart.fastest(
      of: chain.steps, isPrepared: true, rows: 7, dtype: .float32, model: FactorModel(h200))
    #expect(parts.count < 5)
    func product(_ arrays: [MLXArray]) -> MLXArray {
      var (y, rest) = (arrays[0], arrays[1...])
      for part in parts {
        y = part.step.product(
          .composed, y, part.weights(Array(rest.prefix(part.count)), dtype: .float32))
        rest = rest.dropFirst(part.count)
      }
      return y
    }
    func definition(_ arrays: [MLXArray]) -> MLXArray {
      zip(patterns, arrays.dropFirst()).reduce(arrays[0]) { $1.0.product($0, count: 7, $1.1) }
    }
    let cotangent = MLXRandom.normal([7, 32], key: MLXRandom.key(5))
    let ours = try vjp({ [product($0)] }, primals: [x] + weights, cotangents: [cotangent])
    let exact = try vjp({ [definition($0)] }, primals: [x] + weights, cotangents: [cotangent])
    for (one, other) in zip(ours.values + ours.gradients, exact.values + exact.gradients) {
      try expectClose(one, other, .relative(1e-5))
    }
  }

  /// On any device: the check compares the path taken with the definition.
  @Test func chainsAgreeWithTheDefinition() throws {
    for (_, results) in ChainCheck.runs() {
      for result in try results() {
        #expect(result.isPassed, "\(result.name), \(result.what): \(result.worst)")
      }
    }
  }

  @Test func aPairStaysOnePart() {
    let pair = FactorStep.pair(
      BlockPair(inputs: 64, outputs: 64, m0: 8, m1: 8, n0: 8, n1: 8, rank: 1))
    let parts = ChainPart.fastest(
      of: [pair], isPrepared: true, rows: 8, dtype: .bfloat16, model: FactorModel(h200))
    #expect(parts == [ChainPart(pair)] && parts[0].count == 2)
  }
}
