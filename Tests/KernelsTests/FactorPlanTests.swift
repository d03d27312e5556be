import MLX
import Testing

@testable import Kernels

@Suite struct FactorPlanTests {
  /// An H200, as its driver describes it.
  private let h200 = GPU(
    major: 9, minor: 0, multiprocessors: 132, clock: 1.98e9, busBandwidth: 4.92e12,
    cache: 50 << 20)

  private func pair(_ m0: Int, _ m1: Int, _ n0: Int, _ n1: Int, _ rank: Int) -> PairShape {
    PairShape(m0: m0, m1: m1, n0: n0, n1: n1, rank: rank)
  }

  /// Bytes of shared memory, tiles of a part and words of a part: those of scripts/gpu/factors.py, whose
  /// plans a device has checked.
  @Test func pairsAreDividedAsInThePythonLauncher() {
    let expected: [(PairShape, String, [Int])] = [
      (pair(24, 32, 24, 32, 1), "c1 r16 x3 z4", [174_448, 4, 24576]),
      (pair(24, 32, 24, 32, 4), "c4 r16 x3 z4", [118_000, 4, 24576]),
      (pair(48, 16, 16, 48, 3), "c2 r16 x3 z4", [87408, 8, 21504]),
      (pair(32, 48, 32, 48, 2), "c8 r16 x3 z4", [85104, 4, 22528]),
      (pair(64, 64, 64, 64, 1), "c8 r16 x3 z4", [116_080, 8, 32768]),
      (pair(7, 5, 6, 9, 3), "c1 r16 x1 z4", [14544, 2, 1728]),
      (pair(24, 16, 17, 19, 1), "c1 r16 x3 z4", [73648, 4, 10496]),
    ]
    for (shape, text, numbers) in expected {
      let plan = PairPlan.named(shape)
      #expect(plan?.description == text)
      #expect(plan.map { [$0.sharedBytes, $0.partTiles ?? 0, $0.partWords] } == numbers)
    }
    #expect(PairPlan.named(pair(64, 64, 64, 64, 2)) == nil, "too many numbers for the registers")
    #expect(PairPlan.named(pair(0, 64, 64, 64, 2)) == nil)
  }

  @Test func theTransposeOfATransposeIsThePair() {
    let shape = pair(3, 5, 7, 11, 2)
    #expect(shape.transposed == pair(11, 7, 5, 3, 2))
    #expect(shape.transposed.transposed == shape)
    #expect(shape.transposed.multiplyAdds == shape.multiplyAdds)
  }

  @Test func factorsAreDividedAsInThePythonLauncher() {
    let expected: [(KroneckerShape, Int, String, [Int], Double)] = [
      (.init(1, 48, 48, 8), 25088, "l8/8 j48/24 rows 64/16 k16 x3 w8x1", [98304, 320], 1.78e-5),
      (
        .init(1, 64, 64, 16), 25088, "l16/16 j64/16 rows 32/16 k16 x3 w8x1", [181_760, 528], 5.18e-5
      ),
      (.init(3, 50, 37, 7), 333, "l7/7 j24/8 rows 32/16 k32 x4 w8x1", [75520, 464], 1.59e-6),
    ]
    for (shape, rows, text, numbers, seconds) in expected {
      let plan = KroneckerPlan.best(shape, rows: rows, gpu: h200)
      #expect(plan?.description == text)
      #expect(plan.map { [$0.sharedBytes, $0.pitch] } == numbers)
      let share = (plan?.seconds(rows: rows, gpu: h200) ?? 0) / seconds
      #expect((0.98...1.02).contains(share), "\(shape): \(share)")
    }
    #expect(KroneckerPlan.best(.init(1, 0, 4, 4), rows: 4, gpu: h200) == nil)
  }

  @Test func clustersThatAreResidentTogetherAreThoseOfTheDevice() {
    #expect([1, 2, 4, 8].map { h200.residentClusters(of: $0) } == [132, 66, 30, 15])
  }

  // MARK: - The model

  /// benchmarks/factors-h200.json: 25088 rows, bf16, milliseconds of the kernel and of strided products.
  @Test func theModelIsNearWhatWasMeasured() {
    let model = FactorModel(h200)
    let measured: [(PairShape, Double?, Double)] = [
      (pair(24, 32, 24, 32, 1), 0.0300, 0.0609), (pair(32, 32, 32, 32, 2), 0.0555, 0.0968),
      (pair(32, 64, 32, 64, 1), 0.0778, 0.1362), (pair(64, 64, 64, 64, 1), 0.1880, 0.2293),
      (pair(64, 64, 64, 64, 4), nil, 0.6037), (pair(64, 128, 64, 128, 1), nil, 0.4825),
      (pair(256, 16, 16, 256, 16), nil, 0.2303), (pair(1024, 4, 4, 1024, 256), nil, 0.577),
    ]
    for (shape, kernel, strided) in measured {
      let expected = model.strided(shape, rows: 25088, elementSize: 2) * 1e3
      #expect((0.7...1.3).contains(expected / strided), "\(shape): \(expected)")
      let plan = PairPlan.named(shape)
      #expect((plan == nil) == (kernel == nil))
      if let plan, let kernel {
        let expected = plan.seconds(rows: 25088, gpu: h200) * 1e3
        #expect((0.8...1.2).contains(expected / kernel), "\(shape): \(expected)")
      }
    }
  }

  @Test func typesCostWhatTheirBytesAndUnitsDo() {
    let shape = pair(1024, 4, 4, 1024, 256)
    let half = FactorModel(h200).strided(shape, rows: 25088, elementSize: 2)
    let rounded = FactorModel(h200).strided(shape, rows: 25088, elementSize: 4)
    let exact = FactorModel(h200, allowsTF32: false).strided(shape, rows: 25088, elementSize: 4)
    #expect(half < rounded && rounded < exact)
    #expect(
      FactorModel(h200).kernel(.init(1, 64, 64, 16), rows: 4096, elementSize: 4) == nil,
      "the kernels are for 16 bits")
  }
}
