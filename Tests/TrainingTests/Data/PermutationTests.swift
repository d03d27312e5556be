import Testing

@testable import Training

@Suite struct PermutationTests {
  @Test(arguments: [1, 2, 3, 4, 5, 16, 17, 100, 255, 256, 257, 1000])
  func everyNumberComesOnce(count: Int) {
    let order = Permutation(count: count, seed: 7)
    #expect((0..<count).map { order[$0] }.sorted() == Array(0..<count))
  }

  @Test func theSeedIsAllThatMatters() {
    let orders = [1, 1, 2 as UInt64].map { seed in
      let order = Permutation(count: 1000, seed: seed)
      return (0..<1000).map { order[$0] }
    }
    #expect(orders[0] == orders[1])
    #expect(orders[0] != orders[2])
  }

  /// A run that was begun on another machine, or a year ago, has to go on in the same order.
  @Test func theOrderIsFixedForEver() {
    let order = Permutation(count: 1000, seed: 42)
    #expect((0..<5).map { order[$0] } == [393, 312, 56, 23, 320])
  }

  /// 64 cells of expected 62.5: the statistic of a random order is below 124 but once in 100 000.
  @Test func neighboursAreIndependent() {
    let order = Permutation(count: 4001, seed: 3)
    var cells = [Int](repeating: 0, count: 64)
    for position in 0..<4000 {
      cells[order[position] * 8 / 4001 * 8 + order[position + 1] * 8 / 4001] += 1
    }
    let statistic = cells.reduce(0.0) { $0 + (Double($1) - 62.5) * (Double($1) - 62.5) / 62.5 }
    #expect(statistic < 124)
  }

  @Test func epochsDiffer() throws {
    let shuffle = Shuffle(count: 10, seed: 1)
    let epochs = try (0..<2).map { step in
      shuffle.indices(try BatchRequest(step: step, size: 10), slots: 0..<10)
    }
    #expect(epochs[0].sorted() == Array(0..<10))
    #expect(epochs[1].sorted() == Array(0..<10))
    #expect(epochs[0] != epochs[1])
  }
}
