import MLX
import TestSupport
import Testing

@testable import Kernels

@Suite struct StrassenTileTests {
  /// An H200, as its driver describes it.
  private let h200 = GPU(
    major: 9, minor: 0, multiprocessors: 132, clock: 1.98e9, busBandwidth: 4.92e12,
    cache: 50 << 20)

  @Test func tileRowsCountWholeTiles() {
    let sequence = TileRows(samples: 3, length: 197)
    #expect(sequence.rows == 591 && sequence.count == 150)
    #expect(
      sequence.scalars == [50, 197, 4, 1, 0, 4, 197, 150].map { CUDAKernel.Scalar.int($0) })
    let across = TileRows(samples: 6, length: 331, acrossSamples: true)
    #expect(across.rows == 1986 && across.count == 662)
    #expect(
      across.scalars == [331, 1324, 1, 331, 4, 0, 6, 662].map { CUDAKernel.Scalar.int($0) })
  }

  /// The map of `RowMap.cuh`, from its parameters alone, names each row once.
  @Test(arguments: [
    TileRows(samples: 3, length: 7), TileRows(samples: 1, length: 9),
    TileRows(samples: 5, length: 3, acrossSamples: true),
  ])
  func everyRowIsInOneTile(_ rows: TileRows) {
    let numbers = rows.scalars.map { scalar in
      if case .int(let value) = scalar { value } else { 0 }
    }
    var seen: [Int] = []
    for tile in 0..<rows.count {
      let (outer, i) = tile.quotientAndRemainder(dividingBy: numbers[0])
      for a in 0..<4 where outer * numbers[4] + i * numbers[5] + a < numbers[6] {
        seen.append(outer * numbers[1] + i * numbers[2] + a * numbers[3])
      }
    }
    #expect(seen.sorted() == Array(0..<rows.rows))
  }

  @Test func activationsAreTheirDefinitions() throws {
    let x = MLXArray([-3.0, -0.5, 0, 0.25, 2])
    let expected: [KernelActivation: [Double]] = [
      .none: [-3, -0.5, 0, 0.25, 2],
      .gelu: [-0.00404951, -0.15426877, 0, 0.14967656, 1.95449974],
      .geluTanh: [-0.00363739, -0.15428599, 0, 0.14967535, 1.95459769],
      .silu: [-0.14227762, -0.18877033, 0, 0.14054414, 1.76159416],
    ]
    for (activation, values) in expected {
      expectClose(try activation(x).asArray(Double.self), values, .absolute(1e-6))
    }
  }

  // MARK: - The model

  @Test func theModelIsNearWhatWasMeasured() {
    let model = StrassenTileModel(h200)
    func strassen(_ m: Int, _ k: Int, _ n: Int, _ rank: Int) -> Double {
      model.strassenTile(
        rows: TileRows(samples: 1, length: m), inputs: k, outputs: n, rank: rank, elementSize: 2)
    }
    // benchmarks/strassen-tile-h200.json: H200, bf16, milliseconds, rank 0 for dense.
    let measured: [(Int, Int, Int, [Int: Double])] = [
      (8192, 8192, 8192, [0: 1.674, 16: 0.537, 24: 0.834, 32: 1.063, 49: 1.562]),
      (16384, 4096, 4096, [0: 0.880, 16: 0.354, 24: 0.489, 32: 0.627, 49: 0.986]),
      (16384, 4096, 11008, [0: 2.266, 16: 0.827, 24: 1.205, 32: 1.524, 49: 2.455]),
      (16384, 11008, 4096, [0: 2.269, 16: 0.814, 24: 1.195, 32: 1.475, 49: 2.325]),
      (4096, 2048, 5632, [0: 0.148, 16: 0.078, 24: 0.108, 32: 0.137, 49: 0.195]),
      (32768, 1024, 4096, [0: 0.451, 16: 0.319, 24: 0.421, 32: 0.533, 49: 0.841]),
      (25088, 768, 3072, [0: 0.200, 16: 0.176, 24: 0.229, 32: 0.288, 49: 0.417]),
      (4095, 2047, 5631, [0: 0.779, 16: 0.099, 24: 0.128, 32: 0.157, 49: 0.218]),
    ]
    for (m, k, n, times) in measured {
      for (rank, milliseconds) in times {
        let expected =
          rank == 0 ? model.dense(m: m, n: n, k: k, elementSize: 2) : strassen(m, k, n, rank)
        let share = expected * 1e3 / milliseconds
        #expect((0.88...1.12).contains(share), "\(m)×\(k)×\(n) rank \(rank): \(share)")
      }
    }
    // Too small a product for the basis changes to pay.
    #expect(strassen(512, 512, 512, 16) > model.dense(m: 512, n: 512, k: 512, elementSize: 2))
    // Few rows: both read the same weight.
    #expect(strassen(8, 4096, 4096, 16) > model.dense(m: 8, n: 4096, k: 4096, elementSize: 2))
    // cuBLAS is slow on rows that begin anywhere.
    #expect(
      strassen(4095, 2047, 5631, 49) < model.dense(m: 4095, n: 5631, k: 2047, elementSize: 2))
  }
}
