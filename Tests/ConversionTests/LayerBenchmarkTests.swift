import Foundation
import MLX
import Operators
import TestSupport
import Testing

@testable import Conversion

@Suite struct LayerBenchmarkTests {
  /// Those of no machine: what is tested is the arithmetic.
  private let ceilings = Ceilings(operations: 4e15, bytes: 2e11)

  private func benchmark(
    _ specs: [String], dtype: DType = .float32, backward: Bool = false
  ) throws -> LayerBenchmark {
    try LayerBenchmark.run(
      rows: 8, inputs: 16, outputs: 12, specs: specs.map { try OperatorSpec(parsing: $0) },
      dtype: dtype, backward: backward, seed: 0
    ) { ceilings }
  }

  private func operation(_ spec: String) throws -> any LinearOperator {
    try OperatorSpec(parsing: spec).makeOperator(inputs: 16, outputs: 12)
  }

  @Test(arguments: [false, true])
  func figuresFitTogether(backward: Bool) throws {
    let specs = ["lowrank:rank=2", "2:4", "stl:rank=24", "btt:rank=1"]
    let result = try benchmark(specs, backward: backward)
    // On a CPU these but 2:4 and low rank have kernels; they are measured whether they are taken or not.
    let paths = try zip(specs, specs.map { try operation($0) }).flatMap { spec, operation in
      let choice = operation.choice(shape: [1, 8, 16], dtype: .float32, keepsDense: false)
      let hasKernels = choice.predictions[.kernels] != nil
      return [(spec, ProductPath.reference)] + (hasKernels ? [(spec, .kernels)] : [])
    }
    #expect(result.rows.map(\.name) == ["dense"] + paths.map(\.0))
    #expect(result.rows.map(\.path) == [.dense] + paths.map(\.1))
    #expect(result.shape == [8, 16, 12] && result.dtype == "float32")
    #expect(result.backward == backward && !result.bases)
    #expect(result.matrixTeraflops == 4000 && result.copyGigabytes == 200)
    let passes = backward ? 3.0 : 1
    for row in result.rows {
      let cost = try operation(row.name).cost
      #expect(row.multiplyAdds == cost.multiplyAdds && row.parameters == cost.parameters)
      let seconds = row.timing.median / 1e3
      let operations = 2 * cost.multiplyAdds * 8 * passes
      let bytes = passes * cost.bytes(rows: 8, inputs: 16, outputs: 12, elementSize: 4)
      expectClose(
        [
          row.ratio, row.nominalTeraflops, row.effectiveTeraflops,
          row.shareOfLimit,
        ],
        [
          result.rows[0].timing.median / row.timing.median, operations / seconds / 1e12,
          2 * 8 * 16 * 12 * passes / seconds / 1e12,
          Swift.max(operations / 4e15, bytes / 2e11) / seconds,
        ], .relative(1e-9))
      #expect(row.timing.quartiles.contains(row.timing.median) && seconds > 0)
      #expect(result.table.contains(row.name))
    }
    #expect(result.rows[0].ratio == 1)
    #expect(result.automatic.map(\.name) == specs)
    for item in result.automatic {
      #expect(result.table.contains(item.choice.reason))
      let own = result.rows.filter { $0.name == item.name }
      let rows = (backward ? [] : [result.rows[0]]) + own
      let chosen = try #require(rows.first { $0.path == item.choice.path })
      let fastest = try #require(rows.map(\.timing.median).min())
      expectClose([item.regret], [chosen.timing.median / fastest], .relative(1e-9))
    }
    let data = try JSONEncoder().encode(result)
    #expect(
      try JSONDecoder().decode(LayerBenchmark.self, from: data).rows.count == result.rows.count)
  }

  @Test func theDenseLayerIsMeasuredOnce() throws {
    #expect(try benchmark(["dense", "2:4", "dense"]).rows.map(\.name) == ["dense", "2:4"])
    #expect(try benchmark([], dtype: .bfloat16).dtype == "bfloat16")
  }

  @Test func repetitionsAreQueuedAndEachJobIsTimed() throws {
    var counts = [0, 0]
    let jobs = [0, 1].map { job in
      {
        counts[job] += 1
        return [MLXArray.zeros([4096]) + Double(counts[job])]
      }
    }
    let timings = try measureQueued(jobs, rounds: 2)
    #expect(timings.map(\.seconds.count) == [2, 2])
    #expect(timings.allSatisfy { $0.median > 0 } && counts.allSatisfy { $0 >= 16 })
    #expect(throws: MLXError("a cause")) {
      try measureQueued([{ [MLXArray(failure: MLXError("a cause"))] }])
    }
  }

  @Test func aSpecThatDoesNotFitIsRefused() {
    #expect(throws: SpecError.self) { try benchmark(["lowrank:rank=13"]) }
  }

  // MARK: - Timing

  @Test func mediansAndQuartilesAreOfTheSortedTimes() {
    let timing = Timing([0.5, 0.1, 0.4, 0.2, 0.3])
    #expect(timing.seconds == [0.1, 0.2, 0.3, 0.4, 0.5])
    #expect(timing.median == 300 && timing.quartiles == 200...400)
    #expect(Timing([0.25]).median == 250)
  }

  @Test func jobsTakeTurns() throws {
    var order: [Int] = []
    let timings = try measure(
      (0..<3).map { job in
        {
          order.append(job)
          return [MLXArray(job)]
        }
      }, repetitions: 4, seconds: 0)
    #expect(timings.map(\.seconds.count) == [4, 4, 4])
    #expect(order.suffix(12) == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2])
    #expect(throws: MLXError("a cause")) {
      try measure([{ [MLXArray(failure: MLXError("a cause"))] }])
    }
  }
}
