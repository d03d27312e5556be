import MLX
import TestSupport
import Testing

@Suite struct RandomTests {
  @Test func theSameKeyGivesTheSameNumbers() throws {
    let draws: [(MLXArray) -> MLXArray] = [
      { MLXRandom.uniform([16], key: $0) }, { MLXRandom.normal([16], key: $0) },
      { MLXRandom.randInt(low: 0, high: 1000, [16], key: $0) },
      { MLXRandom.permutation(16, key: $0) },
      { MLXRandom.uniform([16], key: MLXRandom.split(key: $0).1) },
      { MLXRandom.categorical(MLXArray.zeros([16, 1000]), key: $0) },
    ]
    for draw in draws {
      let first = try draw(MLXRandom.key(3)).asArray(Double.self)
      #expect(try draw(MLXRandom.key(3)).asArray(Double.self) == first)
      #expect(try draw(MLXRandom.key(4)).asArray(Double.self) != first)
    }
  }

  @Test func aSeedRepeatsTheNumbersOfAThread() throws {
    try MLXRandom.seed(5)
    let first = try [MLXRandom.normal([4]), MLXRandom.normal([4])].map {
      try $0.asArray(Float.self)
    }
    try MLXRandom.seed(5)
    let again = try [MLXRandom.normal([4]), MLXRandom.normal([4])].map {
      try $0.asArray(Float.self)
    }
    #expect(first == again && first[0] != first[1])
  }

  @Test func splitKeysDiffer() throws {
    let keys = MLXRandom.split(key: MLXRandom.key(0), into: 5)
    let draws = try keys.map { try MLXRandom.uniform([1], key: $0).item(Float.self) }
    #expect(Set(draws).count == 5)
    #expect(MLXRandom.split(key: MLXRandom.key(0), into: 0).isEmpty)
    #expect(MLXRandom.split(key: MLXRandom.key(0), into: -1).isEmpty)
  }

  // The bounds of the moments are five standard errors of 20,000 draws.
  private let count = 20_000

  @Test func uniformNumbersFillTheirInterval() throws {
    let x = MLXRandom.uniform(low: -1, high: 3, [count], key: MLXRandom.key(1))
    #expect(try x.min().item(Float.self) >= -1 && x.max().item(Float.self) < 3)
    #expect(try Swift.abs(x.mean().item(Float.self) - 1) < 0.041)
    #expect(try Swift.abs(variance(x, axis: 0).item(Float.self) - 4 / 3) < 0.045)
    #expect(MLXRandom.uniform([2], dtype: .bfloat16, key: MLXRandom.key(1)).dtype == .bfloat16)
  }

  @Test func normalNumbersHaveTheirMoments() throws {
    let x = MLXRandom.normal([count], loc: 2, scale: 3, key: MLXRandom.key(1))
    #expect(try Swift.abs(x.mean().item(Float.self) - 2) < 0.11)
    #expect(try Swift.abs(variance(x, axis: 0).item(Float.self) - 9) < 0.45)
    #expect(MLXRandom.normal([2], dtype: .float16, key: MLXRandom.key(1)).dtype == .float16)
  }

  @Test func integersAndChoicesStayInTheirRange() throws {
    let x = try MLXRandom.randInt(low: -2, high: 3, [count], key: MLXRandom.key(1)).asArray(
      Int.self)
    #expect(Set(x) == [-2, -1, 0, 1, 2])
    let p = try MLXRandom.bernoulli(0.2, [count], key: MLXRandom.key(2)).asArray(Bool.self)
    #expect(Swift.abs(Double(p.count { $0 }) / Double(count) - 0.2) < 0.0142)
    let order = try MLXRandom.permutation(100, key: MLXRandom.key(3)).asArray(Int.self)
    #expect(order.sorted() == Array(0..<100) && order != Array(0..<100))
    let logits = MLXArray([0, -1000, 0] as [Float])
    let c = MLXRandom.categorical(broadcast(logits, to: [50, 3]), key: MLXRandom.key(4))
    #expect(Set(try c.asArray(Int.self)) == [0, 2])
  }

  @Test func wrongRequestsFail() {
    for array in [
      MLXRandom.uniform([2], dtype: .int32), MLXRandom.normal([2], key: MLXArray([1.0, 2])),
      MLXRandom.uniform([-1]), MLXRandom.permutation(-1), MLXRandom.normal([2], dtype: .int8),
    ] { #expect(array.failure != nil) }
  }
}
