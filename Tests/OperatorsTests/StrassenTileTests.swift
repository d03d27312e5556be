import Encoders
import MLX
import Operators
import TestSupport
import Testing

/// Algorithms for tests: exact ones of the library, and an inexact one that needs no table.
enum Algorithms {
  static let exact = [
    ExactTable.strassen.encoder, ExactTable.strassenSquared.encoder,
    ExactTable.rank48Accurate.encoder,
  ]

  /// Strassen's square with every second of its components, rank 24: far from exact.
  static func half() throws -> Encoder {
    try thinned(keeping: { $0 % 2 == 1 })
  }

  /// The components of Strassen's square that a condition keeps.
  static func thinned(keeping: (Int) -> Bool) throws -> Encoder {
    let whole = ExactTable.strassenSquared.encoder
    let planes = (0..<whole.rank).filter(keeping)
    func rows(_ table: [Double]) -> [Double] {
      planes.flatMap { table[$0 * whole.tileArea..<($0 + 1) * whole.tileArea] }
    }
    return try Encoder(
      name: "thinned", tile: 4, rank: planes.count, activation: rows(whole.activation),
      weight: rows(whole.weight), decoder: rows(whole.decoder),
      provenance: .init(source: "components of Strassen's square"))
  }
}

/// Standard normal numbers.
func gaussian(_ shape: [Int], _ seed: UInt64) -> MLXArray {
  MLXRandom.normal(shape, key: MLXRandom.key(seed))
}

@Suite struct StrassenTileProductTests {
  @Test(arguments: Algorithms.exact, RowPolicy.allCases)
  func exactAlgorithmsComputeTheDenseProduct(encoder: Encoder, rows: RowPolicy) throws {
    for (n, k, leading) in [
      (8, 12, [3, 8]), (9, 7, [2, 5]), (5, 13, [7]), (4, 4, [1]), (6, 10, []), (3, 5, [2, 3, 6]),
      (5, 6, [0]), (5, 6, [2, 0]), (5, 6, [0, 3]),
    ] {
      let layer = StrassenTile(inputs: k, outputs: n, encoder: encoder, rows: rows)
      let weight = gaussian([n, k], 1)
      let parameters = try layer.fit(FitTarget(weight: weight))
      let x = gaussian(leading + [k], 2)
      try expectClose(
        layer.apply(x, parameters), matmul(x, weight.transposed()), .relative(1e-5))
      try expectClose(try #require(layer.dense(parameters)), weight, .relative(1e-5))
    }
  }
}
