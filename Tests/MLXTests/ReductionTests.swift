import Foundation
import MLX
import TestSupport
import Testing

@Suite struct ReductionTests {
  private let x = MLXRandom.uniform(low: 0.5, high: 1.5, [2, 3, 4], key: MLXRandom.key(0))

  /// The elements that go into each result of a reduction over some axes of [2, 3, 4], by loops.
  private func groups(over axes: [Int]) throws -> [[Double]] {
    let values = try x.asArray(Double.self)
    var groups: [[Int]: [Double]] = [:]
    for (index, value) in values.enumerated() {
      let position = [index / 12, index / 4 % 3, index % 4]
      groups[[0, 1, 2].filter { !axes.contains($0) }.map { position[$0] }, default: []].append(
        value)
    }
    return groups.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map(\.value)
  }

  @Test(arguments: [[0], [1], [2], [0, 2], [-1], [0, 1, 2]])
  func reductionsAgreeWithLoops(_ axes: [Int]) throws {
    let groups = try groups(over: axes.map { $0 < 0 ? $0 + 3 : $0 })
    func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }
    func expect(
      _ array: MLXArray, _ reference: ([Double]) -> Double,
      sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
      expectClose(
        try array.asArray(Double.self), groups.map(reference), .roundings(32, of: .float32),
        sourceLocation: sourceLocation)
    }
    try expect(x.sum(axes: axes)) { $0.reduce(0, +) }
    try expect(x.mean(axes: axes), mean)
    try expect(x.product(axes: axes)) { $0.reduce(1, *) }
    try expect(x.max(axes: axes)) { $0.max() ?? .nan }
    try expect(x.min(axes: axes)) { $0.min() ?? .nan }
    try expect(x.logSumExp(axes: axes)) { Foundation.log($0.map(Foundation.exp).reduce(0, +)) }
    try expect(norm(x, axes: axes)) { $0.map { $0 * $0 }.reduce(0, +).squareRoot() }
    for ddof in [0, 1] {
      try expect(variance(x, axes: axes, ddof: ddof)) { values in
        let center = mean(values)
        return values.map { ($0 - center) * ($0 - center) }.reduce(0, +)
          / Double(values.count - ddof)
      }
    }
    let kept = x.sum(axes: axes, keepDims: true)
    #expect(kept.ndim == 3 && kept.size == groups.count)
  }

  @Test func withoutAxesEverythingIsReduced() throws {
    for result in [x.sum(), x.mean(), x.product(), x.max(), x.min(), x.logSumExp(), norm(x)] {
      #expect(result.shape.isEmpty)
      try result.eval()
    }
    #expect(x.sum(keepDims: true).shape == [1, 1, 1])
    try expectClose(x.sum(), x.sum(axes: [0, 1, 2]), .roundings(1, of: .float32))
    // Of a scalar it is the scalar.
    #expect(try MLXArray(3).sum().item(Int32.self) == 3)
  }

  @Test func truthValuesAreReduced() throws {
    let a = MLXArray([true, false, true, true], [2, 2])
    #expect(try a.all(axis: 1).asArray(Bool.self) == [false, true])
    #expect(try a.any(axis: 0).asArray(Bool.self) == [true, true])
    #expect(try !a.all().item(Bool.self))
    #expect(try a.any().item(Bool.self))
    #expect(try a.all(axes: [0, 1]).item(Bool.self) == false)
    #expect(try a.any(axes: [1]).asArray(Bool.self) == [true, true])
  }

  @Test func positionsOfExtremes() throws {
    let a = MLXArray([3, 9, -1, 9, 0, 2], [2, 3])
    #expect(try a.argMax(axis: 1).asArray(Int.self) == [1, 0])
    #expect(try argMin(a, axis: 1).asArray(Int.self) == [2, 1])
    #expect(argMax(a, axis: 0, keepDims: true).shape == [1, 3])
  }

  @Test func softmaxSumsToOneWithoutOverflow() throws {
    let logits = MLXArray([1000, 1001, -1000] as [Float])
    let p = try softmax(logits).asArray(Double.self)
    let e = Foundation.exp(-1.0)
    expectClose(p, [e / (1 + e), 1 / (1 + e), 0], .roundings(8, of: .float32))
    let columns = softmax(x, axis: 1).sum(axis: 1)
    try expectClose(columns, MLXArray.ones([2, 4]), .roundings(4, of: .float32))
    let low = MLXRandom.normal([4096], key: MLXRandom.key(1)).asType(.bfloat16)
    #expect(softmax(low, precise: true).dtype == .bfloat16)
  }

  @Test func runningSums() throws {
    let a = MLXArray([1, 2, 3, 4])
    #expect(try cumsum(a, axis: 0).asArray(Int32.self) == [1, 3, 6, 10])
    #expect(try cumsum(a, axis: 0, reverse: true).asArray(Int32.self) == [10, 9, 7, 4])
    #expect(try cumsum(a, axis: 0, inclusive: false).asArray(Int32.self) == [0, 1, 3, 6])
  }

  @Test func wrongAxesFail() {
    #expect(x.sum(axis: 3).failure != nil)
    #expect(x.argMax(axis: -4).failure != nil)
    #expect(softmax(x, axis: 7).failure != nil)
    #expect(x.mean(axes: [0, 0]).failure != nil)
  }
}
