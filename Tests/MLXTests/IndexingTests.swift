import MLX
import TestSupport
import Testing

@Suite struct IndexingTests {
  private let values = Array(0..<10)

  @Test func rangesAgreeWithSwiftArrays() throws {
    let a = arange(10)
    #expect(try a[2..<5].asArray(Int.self) == Array(values[2..<5]))
    #expect(try a[2...5].asArray(Int.self) == Array(values[2...5]))
    #expect(try a[..<4].asArray(Int.self) == Array(values[..<4]))
    #expect(try a[...4].asArray(Int.self) == Array(values[...4]))
    #expect(try a[6...].asArray(Int.self) == Array(values[6...]))
    #expect(try a[3].item(Int.self) == 3)
    #expect(a[3].shape.isEmpty)
  }

  @Test func negativePositionsCountFromTheEnd() throws {
    let a = arange(10)
    #expect(try a[-1].item(Int.self) == 9)
    #expect(try a[(-3)...].asArray(Int.self) == [7, 8, 9])
    #expect(try a[..<(-7)].asArray(Int.self) == [0, 1, 2])
    #expect(try a[(-3)...(-1)].asArray(Int.self) == [7, 8, 9])
    #expect(try a[...(-1)].asArray(Int.self) == values)
    #expect(try a[(-4)..<(-2)].asArray(Int.self) == [6, 7])
    #expect(a[-11].failure != nil && a[10].failure != nil)
  }

  @Test func stridesAgreeWithSwift() throws {
    let a = arange(10)
    for (from, to, by) in [(0, 10, 3), (1, 9, 2), (9, -1, -1), (8, 0, -3), (5, 5, 1), (7, 2, -2)] {
      #expect(
        try a[stride(from: from, to: to, by: by)].asArray(Int.self)
          == Array(stride(from: from, to: to, by: by)), "\(from) to \(to) by \(by)")
    }
    #expect(try a[stride(from: -1, to: -4, by: -1)].asArray(Int.self) == [9, 8, 7])
  }

  @Test func rangesAreClippedAsInPython() throws {
    let a = arange(10)
    #expect(try a[8..<100].asArray(Int.self) == [8, 9])
    #expect(a[20..<30].shape == [0])
    #expect(try a[(-100)..<2].asArray(Int.self) == [0, 1])
  }

  @Test func axesAreAddedAndFilledIn() {
    let a = MLXArray.zeros([2, 3, 4])
    #expect(a[ellipsis, 0].shape == [2, 3])
    #expect(a[0, ellipsis, 0].shape == [3])
    #expect(a[newAxis, ellipsis, newAxis].shape == [1, 2, 3, 4, 1])
    #expect(a[0..., 1, newAxis].shape == [2, 1, 4])
    #expect(a[0, 0, 0].shape.isEmpty)
    #expect(a[0, 0, 0, 0].failure != nil)
    #expect(a[ellipsis, ellipsis].failure != nil)
  }

  @Test func assignmentChangesThoseElementsAlone() throws {
    let shape = [2, 3, 4]
    let indices: [([any MLXArrayIndex], [[Int]])] = [
      ([1], [[1], [0, 1, 2], [0, 1, 2, 3]]),
      ([0..., 2], [[0, 1], [2], [0, 1, 2, 3]]),
      ([ellipsis, 1..<3], [[0, 1], [0, 1, 2], [1, 2]]),
      ([0, stride(from: 2, to: -1, by: -2), (-1)...], [[0], [2, 0], [3]]),
    ]
    for (index, positions) in indices {
      let a = MLXArray.zeros(shape)
      var expected = [Float](repeating: 0, count: 24)
      var next: Float = 1
      for i in positions[0] {
        for j in positions[1] {
          for k in positions[2] {
            expected[i * 12 + j * 4 + k] = next
            next += 1
          }
        }
      }
      let count = positions.map(\.count)
      let update = arange(1, Double(next)).reshaped(count)
      switch index.count {
      case 1: a[index[0]] = update.squeezed()
      case 2: a[index[0], index[1]] = update.squeezed()
      default: a[index[0], index[1], index[2]] = update[0]
      }
      #expect(try a.asArray(Float.self) == expected)
    }
  }

  @Test func assignmentIsSeenUnderEveryNameOfTheObjectAlone() throws {
    let a = arange(4)
    let alias = a
    let copy = a + 0
    let view = a[1..<3]
    a[1] = MLXArray(9)
    #expect(try alias.asArray(Int.self) == [0, 9, 2, 3])
    #expect(try copy.asArray(Int.self) == [0, 1, 2, 3])
    #expect(try view.asArray(Int.self) == [1, 2])
    a[0...] = a[stride(from: 3, to: -1, by: -1)]
    #expect(try a.asArray(Int.self) == [3, 2, 9, 0])
    a[0] += 1
    #expect(try a.asArray(Int.self) == [4, 2, 9, 0])
  }

  @Test func assignmentBroadcastsAndKeepsTheType() throws {
    let a = MLXArray.zeros([2, 2], dtype: .bfloat16)
    a[0] = MLXArray(1.5)
    a[0..., 1] = MLXArray([5, 6])
    #expect(a.dtype == .bfloat16)
    #expect(try a.asArray(Float.self) == [1.5, 5, 0, 6])
    let b = MLXArray.zeros([2])
    b[0..<2] = MLXArray.ones([3])
    #expect(b.failure != nil)
    let c = MLXArray.zeros([2])
    c[5] = MLXArray(1)
    #expect(c.failure != nil)
  }

  @Test func arraysTakeRows() throws {
    let a = MLXArray([10, 11, 20, 21, 30, 31], [3, 2])
    #expect(try a[MLXArray([2, 0])].asArray(Int.self) == [30, 31, 10, 11])
    #expect(try a.take(MLXArray([1]), axis: 1).asArray(Int.self) == [11, 21, 31])
    #expect(a[MLXArray([0, 1, 2, 0], [2, 2])].shape == [2, 2, 2])
    #expect(a[MLXArray([0.5])].failure != nil)
  }
}

@Suite struct SelectionTests {
  @Test func chosenAndClipped() throws {
    let a = MLXArray([-2, 0.5, 3] as [Float])
    #expect(try which(a .> 0, a, a * 10).asArray(Float.self) == [-20, 0.5, 3])
    #expect(try clip(a, min: -1, max: 1).asArray(Float.self) == [-1, 0.5, 1])
    #expect(try round(MLXArray([1.25, -0.75]), decimals: 1).asArray(Float.self) == [1.2, -0.8])
  }

  @Test func takenAndPutAlongAnAxis() throws {
    let a = MLXArray([3, 1, 2, 6, 4, 5], [2, 3])
    let order = argSort(a)
    #expect(try order.asArray(Int.self) == [1, 2, 0, 1, 2, 0])
    let ordered = takeAlong(a, order, axis: -1)
    #expect(try arrayEqual(ordered, sorted(a)).item(Bool.self))
    let back = putAlong(MLXArray.zeros([2, 3], dtype: .int32), order, values: ordered, axis: -1)
    #expect(try arrayEqual(back, a).item(Bool.self))
    let sums = scatterAddAlong(
      MLXArray([1, 1, 1], [1, 3]), MLXArray([0, 2, 2], [1, 3]),
      values: MLXArray([5, 6, 7], [1, 3]),
      axis: 1)
    #expect(try sums.asArray(Int.self) == [6, 1, 14])
  }

  @Test func sortsAgreeWithSwift() throws {
    let a = MLXRandom.normal([5, 7], key: MLXRandom.key(0))
    let values = try a.asArray(Float.self)
    let rows = (0..<5).flatMap { values[($0 * 7)..<($0 * 7 + 7)].sorted() }
    #expect(try sorted(a).asArray(Float.self) == rows)
    let columns = (0..<7).map { column in (0..<5).map { values[$0 * 7 + column] }.sorted() }
    #expect(try sorted(a, axis: 0).T.asArray(Float.self) == columns.flatMap(\.self))
    let parts = try takeAlong(a, argPartition(a, kth: 3), axis: -1).asArray(Float.self)
    for row in 0..<5 {
      let part = Array(parts[(row * 7)..<(row * 7 + 7)])
      #expect(part[3] == part.sorted()[3])
      #expect(part[..<3].allSatisfy { $0 <= part[3] })
    }
    #expect(argPartition(a, kth: 9).failure != nil)
  }
}
