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

  /// Bytes of shared memory, tiles of a part and words of a part: those of scripts/gpu/factors, whose
  /// plans a device has checked.
  @Test func pairsAreDividedAsInThePythonLauncher() {
    let expected: [(PairShape, String, [Int])] = [
      (pair(24, 32, 24, 32, 1), "c1 r16 x3 z4", [174_448, 4, 24576]),
      (pair(24, 32, 24, 32, 4), "c4 r16 x3 z4", [118_000, 4, 24576]),
      (pair(48, 16, 16, 48, 3), "c2 r16 x3 z4", [87408, 8, 18432]),
      (pair(32, 48, 32, 48, 2), "c8 r16 x3 z4", [85104, 4, 18432]),
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

  @Test func warpgroupsDividePairsAsInThePythonLauncher() {
    let expected: [(PairShape, String, [Int])] = [
      (pair(32, 32, 32, 32, 1), "g c2 x6 z3 p4 f1 s1", [229_760, 32768]),
      (pair(64, 64, 64, 64, 1), "g c8 x13 z4 p3 f1 s2", [229_840, 262_144]),
      (pair(32, 64, 32, 64, 1), "g c8 x8 z8 p4 f1 s1", [213_456, 98304]),
      (pair(48, 64, 48, 64, 1), "g c8 x9 z4 p4 f2 s1", [225_696, 172_032]),
      (pair(48, 16, 16, 48, 3), "g c2 x7 z2 p2 f1 s1", [229_728, 36864]),
      (pair(96, 16, 16, 96, 6), "g c8 x6 z3 p2 f2 s1", [217_424, 172_032]),
      (pair(40, 30, 36, 28, 1), "g c2 x9 z3 p3 f1 s2", [225_440, 52992]),
      (pair(7, 5, 6, 9, 3), "g c1 x4 z4 p0 f1 s1", [109_328, 2688]),
      (pair(768, 1, 1, 768, 24), "g c1 x14 z4 p0 f1 s1", [229_808, 24576]),
      (pair(64, 64, 64, 64, 2), "g c8 x10 z3 p2 f2 s4", [229_776, 524_288]),
      (pair(48, 64, 48, 64, 2), "g c8 x9 z3 p3 f2 s3", [229_792, 344_064]),
      (pair(128, 8, 8, 128, 4), "g c2 x10 z4 p1 f1 s1", [229_776, 32768]),
    ]
    for (shape, text, numbers) in expected {
      let plan = PairGroupsPlan.named(shape)
      #expect(plan?.description == text)
      #expect(plan.map { [$0.sharedBytes, $0.words] } == numbers)
    }
    #expect(
      PairGroupsPlan.named(pair(64, 64, 64, 64, 4)) == nil, "too many numbers for shared memory")
    #expect(PairGroupsPlan.named(pair(16, 16, 127, 16, 1)) == nil, "sums of 16 tiles of outputs")
    #expect(
      PairGroupsPlan.named(pair(192, 16, 16, 192, 12)) == nil,
      "an instruction would wait for boxes that the one before holds")
    #expect(PairGroupsPlan.named(pair(64, 64, 64, 0, 2)) == nil)
    #expect(PairGroupsPlan.named(pair(2048, 1, 1, 2048, 48)) == nil, "low rank is not divided")
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

  @Test func gradientsFillThePlacesOfBlocksAWholeNumberOfTimes() {
    let expected = [1: 528, 24: 22, 32: 16, 64: 8, 300: 3, 400: 1, 528: 1, 600: 1]
    for (tiles, splits) in expected {
      #expect(FactorKernels.splits(of: tiles, among: 528) == splits, "\(tiles) tiles")
    }
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

  /// benchmarks/pair-plans-h200.json and pair-shares-h200.json: 25088 rows, bf16, milliseconds of both kernels.
  @Test func warpgroupsAreExpectedWhereTheyWon() {
    let measured: [(PairShape, Double, Double?)] = [
      (pair(64, 64, 64, 64, 1), 0.122, 0.203), (pair(48, 64, 48, 64, 1), 0.087, 0.149),
      (pair(32, 64, 32, 64, 1), 0.0575, 0.081), (pair(32, 48, 32, 48, 1), 0.053, 0.076),
      (pair(32, 32, 32, 32, 1), 0.033, 0.0375), (pair(24, 32, 24, 32, 1), 0.026, 0.030),
      (pair(64, 16, 16, 64, 4), 0.0325, 0.0435), (pair(128, 16, 16, 128, 8), 0.0705, nil),
      (pair(32, 48, 32, 48, 2), 0.0715, 0.138), (pair(32, 64, 32, 64, 2), 0.0875, 0.119),
      (pair(64, 64, 64, 64, 2), 0.218, nil), (pair(48, 64, 48, 64, 2), 0.127, nil),
      (pair(64, 128, 64, 128, 1), 0.39, nil),
      (pair(32, 64, 32, 64, 4), 0.183, nil), (pair(32, 48, 32, 48, 4), 0.125, nil),
      (pair(1024, 1, 1, 1024, 32), 0.0305, nil), (pair(768, 1, 1, 768, 24), 0.024, nil),
    ]
    for (shape, groups, warps) in measured {
      let expected = PairGroupsPlan.named(shape)?.seconds(rows: 25088, gpu: h200) ?? 0
      #expect((0.85...1.15).contains(expected * 1e3 / groups), "\(shape): \(expected)")
      if let warps, let other = PairPlan.named(shape)?.seconds(rows: 25088, gpu: h200) {
        #expect((expected < other) == (groups < warps), "\(shape): \(expected), \(other)")
      }
    }
    // With few rows a step of 16 is shorter.
    let square = pair(32, 64, 32, 64, 1)
    let warps = PairPlan.named(square)?.seconds(rows: 64, gpu: h200) ?? 1
    #expect(warps < PairGroupsPlan.named(square)?.seconds(rows: 64, gpu: h200) ?? 0)
  }

  /// benchmarks/factors-swift-h200.json, 4096 wide, dense over pair: 0.84 with 1 row, 2.4 with 64, 6.3 with 2048.
  @Test func withFewRowsPairsAreExpectedToBeAsFastAsMeasured() {
    for (rows, ratio) in [(1, 0.7...1.5), (64, 1.5...2.8), (2048, 4...6.5)] {
      let dense = FactorModel(h200).dense(rows: rows, inputs: 4096, outputs: 4096, elementSize: 2)
      let square = pair(64, 64, 64, 64, 1)
      let kernels = [false, true].compactMap {
        PairKernels.seconds(square, byWarpgroups: $0, rows: rows, gpu: h200)?.product
      }
      #expect(ratio.contains(dense / (kernels.min() ?? 0)), "\(rows) rows")
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

  @Test func warpgroupsDivideFactorsAsInThePythonLauncher() {
    let expected: [(KroneckerShape, Int, Int, Bool, String, [Int], Double)] = [
      (
        .init(1, 48, 48, 8), 25088, 2, false, "l8/8 j24/24 rows 128 k16 x5 stay map w3 cluster 2",
        [207_200, 256, 66], 1.502e-05
      ),
      (
        .init(1, 64, 64, 96), 25088, 2, false, "l16/8 j32/32 rows 64 k16 x3 stay map w3 cluster 2",
        [213_312, 512, 11], 0.0002066
      ),
      (
        .init(1, 48, 48, 32), 25088, 4, false, "l8/8 j48/48 rows 128 k8 x5 map",
        [225_504, 256, 33], 0.0001140
      ),
      (
        .init(3, 50, 37, 7), 333, 4, true, "l4/4 j16/8 rows 64 k8 x8 stay exact",
        [118_928, 192, 5], 4.702e-06
      ),
      (
        .init(2, 256, 1024, 16), 25088, 2, false, "l16/8 j32/32 rows 64 k16 x3 map w3 cluster 2",
        [196_928, 512, 33], 0.001776
      ),
      (
        .init(12, 192, 192, 4), 25088, 2, false, "l4/4 j96/96 rows 128 k32 x3 map w3 cluster 2",
        [196_928, 256, 11], 0.0002784
      ),
      (
        .init(1, 96, 96, 18), 25088, 2, false, "l16/16 j32/16 rows 64 k16 x3 stay",
        [199_744, 528, 22], 0.0001259
      ),
      (
        .init(1, 192, 192, 24), 25088, 2, false, "l24/12 j32/32 rows 64 k16 x2 runs w3 cluster 2",
        [223_536, 784, 22], 0.0002423
      ),
      (
        .init(1, 192, 192, 32), 25088, 2, false, "l16/8 j48/48 rows 64 k16 x3 map w3 cluster 2",
        [221_504, 512, 33], 0.0003883
      ),
      (
        .init(1, 48, 192, 3), 25088, 2, false, "l3/3 j48/48 rows 128 k32 x5 runs w2",
        [206_176, 192, 132], 1.730e-05
      ),
      (
        .init(1, 512, 512, 3), 25088, 2, false, "l3/3 j128/128 rows 128 k32 x4 runs cluster 2",
        [196_816, 192, 33], 8.227e-05
      ),
      (
        .init(2, 128, 128, 6), 1024, 2, false, "l6/6 j32/16 rows 64 k64 x3 stay runs w2 cluster 2",
        [224_576, 784, 16], 7.478e-06
      ),
      (
        .init(3, 80, 48, 12), 1024, 4, true, "l12/6 j40/40 rows 64 k8 x3 exact runs w3 cluster 2",
        [206_144, 400, 16], 1.286e-05
      ),
      (
        .init(1, 192, 192, 96), 25088, 4, false, "l8/8 j96/48 rows 64 k8 x5 map cluster 2",
        [205_024, 256, 11], 0.001992
      ),
      (
        .init(16, 384, 96, 1), 25088, 2, false, "l1/1 j128/128 rows 128 k96 x6 stay runs w2",
        [205_168, 192, 11], 0.0001201
      ),
      (
        .init(48, 512, 512, 1), 25088, 4, true,
        "l1/1 j128/128 rows 128 k32 x4 exact runs w3 cluster 2",
        [229_712, 144, 2], 0.005320
      ),
      (
        .init(128, 384, 96, 1), 25088, 4, false, "l1/1 j128/128 rows 128 k48 x6 stay runs w3",
        [221_552, 192, 1], 0.001835
      ),
      (
        .init(1, 192, 48, 8), 25088, 4, false, "l8/8 j48/48 rows 128 k8 x4 map w3 cluster 2",
        [229_712, 256, 33], 5.958e-05
      ),
      (
        .init(8, 48, 192, 16), 25088, 2, false, "l16/16 j48/24 rows 64 k16 x3 map w3",
        [221_504, 512, 33], 0.0004454
      ),
      (
        .init(2, 64, 320, 4), 333, 4, true, "l4/4 j32/32 rows 128 k8 x6 exact",
        [196_720, 192, 3], 1.102e-05
      ),
    ]
    for (shape, rows, size, isExact, text, numbers, seconds) in expected {
      let plan = KroneckerGroupsPlan.best(
        shape, rows: rows, elementSize: size, isExact: isExact, gpu: h200)
      #expect(plan?.description == text)
      let found = plan.map {
        [$0.sharedBytes, $0.pitch, $0.splits(rows: rows, multiprocessors: 132)]
      }
      #expect(found == numbers)
      let share = (plan?.seconds(rows: rows, gpu: h200) ?? 0) / seconds
      #expect((0.98...1.02).contains(share), "\(shape): \(share)")
    }
    #expect(KroneckerGroupsPlan.best(.init(1, 0, 4, 4), rows: 4, elementSize: 2, gpu: h200) == nil)
    let a100 = GPU(
      major: 8, minor: 0, multiprocessors: 108, clock: 1.4e9, busBandwidth: 2e12, cache: 40 << 20)
    #expect(
      KroneckerGroupsPlan.best(.init(1, 48, 48, 8), rows: 64, elementSize: 2, gpu: a100) == nil)
  }

  /// All that a kernel asserts of its plan, over every candidate of patterns that divide by nothing.
  @Test func everyCandidateFitsTheKernelAndCoversTheFactor() {
    for shape in [
      KroneckerShape(3, 50, 37, 7), .init(1, 33, 65, 40), .init(2, 128, 512, 4),
      .init(2, 96, 40, 48), .init(1, 48, 32, 24), .init(2, 64, 48, 6), .init(3, 128, 512, 1),
    ] {
      for (size, isExact) in [(2, false), (4, false), (4, true)] {
        var count = 0
        KroneckerGroupsPlan.forEachCandidate(shape, size: size, isExact: isExact) { plan in
          count += 1
          #expect(plan.sharedBytes <= PairPlan.sharedLimit && plan.pitch % 16 == 0)
          #expect(plan.slice / plan.width * plan.columnUnits * plan.rowUnits == 2)
          #expect(
            plan.slice % plan.width == 0 && plan.tiles <= 16 && plan.parts % plan.cluster == 0)
          #expect(plan.width * plan.tiles <= (plan.isTensor && !isExact ? 48 : 32))
          let isLong = isExact && shape.c > KroneckerGroupsPlan.longestExactSum
          #expect((plan.partialChunks > 0) == isLong)
          #expect(!isLong || plan.width * plan.tiles <= 16)
          #expect((plan.partialChunks - 1) * plan.chunk < KroneckerGroupsPlan.partialExactSum)
          #expect(plan.slices * plan.slice >= shape.d && plan.parts * plan.part >= shape.b)
          #expect(
            plan.chunks * plan.chunk >= shape.c && plan.pitch >= plan.chunk * plan.slice * size)
          switch plan.arrival {
          case .boxed:
            #expect(plan.pitch % 128 == 0 && 128 % (plan.slice * size) == 0)
            #expect(plan.slice == shape.d || (plan.slice * size == 32 && shape.d % plan.slice == 0))
          case .runs:
            #expect(plan.slice == shape.d && shape.c * shape.d * size % 16 == 0)
            #expect(plan.pitch <= 2048)
            #expect(!plan.isTogether || plan.width == shape.d)
          case .copied:
            #expect(plan.cluster == 1 && plan.places == 0)
          }
          #expect(plan.places > 0 || !plan.isTensor || plan.width == plan.slice)
          if plan.places > 0 {
            let written = 8 * plan.writtenTiles * plan.slice * size
            #expect(plan.isTensor && plan.places > 1 && plan.tiles % plan.writtenTiles == 0)
            #expect(written % (plan.hasNeighbours ? 128 : 16) == 0 && plan.width * size % 2 == 0)
          }
        }
        #expect(count > 0, "\(shape) \(size)")
      }
    }
  }

  @Test func turnsTakeWholeRunsOfTheirMatrices() {
    let expected: [(Turn, [Int])] = [
      (Turn(groups: 1, p: 64, q: 96, size: 2), [64, 64, 1, 2]),
      (Turn(groups: 3, p: 48, q: 4, size: 2), [48, 4, 21, 3]),
      (Turn(groups: 2, p: 37, q: 5, size: 4), [40, 5, 10, 2]),
      (Turn(groups: 1, p: 512, q: 3, size: 2), [512, 3, 2, 1]),
    ]
    for (turn, numbers) in expected {
      #expect([turn.tileP, turn.tileQ, turn.tileRows, turn.tiles] == numbers)
    }
  }

  /// docs/log-gpu-factors.md, batch last: 64 products of few columns begin later than they run.
  @Test func manySmallProductsAreLeftToComposedOnes() {
    let model = FactorModel(h200)
    let shape = KroneckerShape(64, 48, 192, 64)
    for (rows, isStrided) in [(64, false), (25088, true)] {
      let strided = model.stridedBatchLast(shape, rows: rows, elementSize: 2)
      let composed = model.composedBatchLast(shape, rows: rows, elementSize: 2)
      #expect((strided < composed) == isStrided)
    }
  }

  /// The models rank by bytes: fewer rows never take longer, and preparing never makes a product slower.
  @Test func modelsGrowWithTheRows() {
    let model = FactorModel(h200)
    for shape in [KroneckerShape(1, 64, 64, 16), .init(4, 128, 128, 4), .init(1, 192, 192, 32)] {
      let times = [4096, 25088].map { rows in
        [
          model.turned(shape, rows: rows, elementSize: 2),
          model.turnedGradients(shape, rows: rows, elementSize: 2),
          model.weightGradient(shape, rows: rows, elementSize: 2),
          model.warpgroups(shape, rows: rows, elementSize: 2) ?? .infinity,
        ]
      }
      #expect(zip(times[0], times[1]).allSatisfy { $0 < $1 && $1 < 1 })
      #expect(times[1][1] > times[1][0], "both gradients cost more than the product")
    }
    #expect(model.warpgroups(.init(1, 64, 64, 16), rows: 64, elementSize: 4) != nil)
    #expect(
      model.sparse(rows: 8192, inputs: 8192, outputs: 8192)
        < model.dense(rows: 8192, inputs: 8192, outputs: 8192, elementSize: 2))
  }
}
