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
    // benchmarks/: H200, bf16, seconds.
    let measured: [(Int, Int, Int, dense: Double, [Int: Double])] = [
      (8192, 8192, 8192, 1.68e-3, [16: 0.561e-3, 24: 0.827e-3, 32: 1.041e-3]),
      (16384, 4096, 4096, 0.866e-3, [16: 0.364e-3, 24: 0.523e-3]),
      (4096, 2048, 5632, 0.153e-3, [16: 0.079e-3, 24: 0.113e-3]),
    ]
    for (m, k, n, dense, ranks) in measured {
      let expected = model.product(m: m, n: n, k: k, elementSize: 2)
      #expect((0.8...1.25).contains(expected / dense), "dense \(m)×\(k)×\(n): \(expected)")
      for (rank, seconds) in ranks {
        let expected = strassen(m, k, n, rank)
        #expect((0.8...1.25).contains(expected / seconds), "\(m)×\(k)×\(n) \(rank): \(expected)")
      }
    }
    // Too small a product for the basis changes to pay.
    #expect(strassen(512, 512, 512, 16) > model.product(m: 512, n: 512, k: 512, elementSize: 2))
  }
}
