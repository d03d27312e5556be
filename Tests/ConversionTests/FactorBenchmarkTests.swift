import Foundation
import MLX
import Operators
import Testing

@testable import Conversion

@Suite struct FactorBenchmarkTests {
  @Test func patternsAreReadWithCommentsAndRefusedByWord() throws {
    let patterns = try FactorBenchmark.patterns(in: "# grid\n1x48x48x8 # one\n\n4x3x2x1 2x2x2x2\n")
    #expect(patterns == [.init(1, 48, 48, 8), .init(4, 3, 2, 1), .init(2, 2, 2, 2)])
    for text in ["1x2x3", "1x2x3x0", "ax1x1x1", "1x2x3x4x5", "1048576x1048576x1x1", "1x-2x3x4"] {
      let error = #expect(throws: BenchmarkError.self) { try FactorBenchmark.patterns(in: text) }
      #expect(error?.description.contains("'\(text)'") == true)
    }
    #expect(throws: BenchmarkError.self) { try FactorBenchmark.patterns(in: "# nothing\n") }
    let missing = #expect(throws: BenchmarkError.self) {
      try FactorBenchmark.patterns(contentsOf: URL(filePath: "/no/such/file"))
    }
    #expect(missing?.description.contains("cannot read /no/such/file") == true)
  }

  @Test(arguments: FactorLayout.allCases)
  func figuresFitTogether(_ layout: FactorLayout) throws {
    let list = [KroneckerPattern(1, 4, 6, 2), KroneckerPattern(3, 4, 2, 1)]
    var seen: [String] = []
    let result = try FactorBenchmark.run(
      list, rows: 9, dtype: .float32, layout: layout,
      ceilings: { Ceilings(operations: 4e15, bytes: 2e9) }
    ) { completed, total, pattern in
      #expect(completed == seen.count && total == 2)
      seen.append(pattern)
    }
    #expect(seen == ["1x4x6x2", "3x4x2x1"] && result.patterns.map(\.pattern) == seen)
    for (pattern, row) in zip(list, result.patterns) {
      let numbers = 9 * (pattern.inputs + pattern.outputs) + pattern.nonZeros
      #expect(abs(row.limit / (4 * Double(numbers) / 2e9 * 1e3) - 1) < 1e-9)
      let taken = row.paths.first { $0.name == row.choice }?.timing.median
      #expect(taken == row.milliseconds && row.overLimit == row.milliseconds / row.limit)
      #expect(row.regret >= 1 && (row.ratio ?? 0) > 0)
      let names = Set(row.paths.map(\.name))
      #expect(names.isSuperset(of: ["composed", "einsum", "dense"]))
      #expect(names.union(row.skipped.keys).isSuperset(of: ["kernel", "strided"]))
    }
    #expect(result.table.contains("1x4x6x2") && result.table.contains("of limit: median"))
    let decoded = try JSONDecoder().decode(
      FactorBenchmark.self, from: try JSONEncoder().encode(result))
    #expect(decoded.patterns.count == 2 && decoded.layout == layout)
  }

  @Test func whatWasMeasuredBeforeAStopIsKept() throws {
    var asked = 0
    let result = try FactorBenchmark.run(
      [KroneckerPattern(1, 4, 6, 2), KroneckerPattern(3, 4, 2, 1)], rows: 9, dtype: .float32,
      layout: .first, ceilings: { Ceilings(operations: 4e15, bytes: 2e9) },
      isStopRequested: {
        asked += 1
        return asked > 1
      })
    #expect(result.patterns.map(\.pattern) == ["1x4x6x2"] && asked == 2)
  }

  @Test func aWrongProductEndsTheBenchmark() throws {
    let x = MLXArray([1, -2, 3] as [Float])
    try requireAgreement("1x2x3x4 by kernel", x * 1.01, x)
    let error = #expect(throws: BenchmarkError.self) {
      try requireAgreement("1x2x3x4 by kernel", x * 1.1, x)
    }
    #expect(error?.description.contains("of 1x2x3x4 by kernel") ?? false)
    #expect(throws: BenchmarkError.self) {
      try requireAgreement("1x2x3x4 by kernel", x * Float.nan, x)
    }
  }
}
