import Encoders
import MLX
import Operators
import Reports

/// Products of two matrices neither of which is a weight: what the encoder predicts, what comes.
public struct ProductBenchmark: Codable, Sendable {
  /// Operands to try an encoder on.
  public enum Inputs: String, Codable, CaseIterable, Sendable {
    /// Independent standard normal entries: the case in which prediction and measurement agree.
    case gaussian
    /// Independent entries in [0, 1): a mean that all share.
    case positive
    /// Entries that resemble their neighbours: means of 4×4 normal ones.
    case smooth

    func matrix(_ rows: Int, _ columns: Int, key: MLXArray) -> MLXArray {
      switch self {
      case .gaussian: return MLXRandom.normal([rows, columns], key: key)
      case .positive: return MLXRandom.uniform([rows, columns], key: key)
      case .smooth:
        let noise = MLXRandom.normal([rows + 3, columns + 3], key: key)
        let tall = (1..<4).reduce(noise[..<rows]) { $0 + noise[$1..<$1 + rows] }
        return (1..<4).reduce(tall[0..., ..<columns]) { $0 + tall[0..., $1..<$1 + columns] } / 4
      }
    }
  }

  /// One encoder on one kind of operands; errors are relative squares, ‖AB − Ĉ‖² / ‖AB‖².
  public struct Row: Codable, Sendable {
    /// The encoder's name.
    public var encoder: String
    /// R.
    public var rank: Int
    /// The operands.
    public var inputs: Inputs
    /// The encoder's error: the expectation for isotropic operands.
    public var predicted: Double
    /// κ, the product of the operands' tile conditions: the error of random operands like these lies
    /// between predicted / κ and predicted · κ.
    public var condition: Double
    /// The error of the plain product.
    public var measured: Double
    /// The expectation under random signs and permutations, exact for these operands.
    public var randomizedPredicted: Double
    /// The mean over the seeds.
    public var randomizedMeasured: Double
    /// Milliseconds of the plain product.
    public var milliseconds: Double
    /// Milliseconds with signs and permutations.
    public var randomizedMilliseconds: Double
    /// Milliseconds of the dense product in the same run.
    public var denseMilliseconds: Double
    /// Multiply-adds over those of the dense product, both encodings and the decoding counted.
    public var costRatio: Double
  }

  /// M, K, N.
  public var shape: [Int]
  /// The element type.
  public var dtype: String
  /// How many seeds the randomised means are over.
  public var seeds: Int
  /// The rows.
  public var rows: [Row]
  /// What it was measured on.
  public var machine: MachineSheet

  /// Multiplies [M, K] by [K, N] with each encoder on each kind of operands.
  ///
  /// Throws a sentence if a size is smaller than a tile or an encoder carries nothing of a product.
  public static func run(
    rows m: Int, inner k: Int, columns n: Int, encoders: [Encoder],
    inputs: [Inputs] = Inputs.allCases, dtype: DType = .float32, seeds: Int = 8
  ) throws -> ProductBenchmark {
    var rows: [Row] = []
    for kind in inputs {
      let keys = MLXRandom.split(key: MLXRandom.key(0), into: 2)
      let a = kind.matrix(m, k, key: keys[0]).asType(dtype)
      let b = kind.matrix(k, n, key: keys[1]).asType(dtype)
      let exact = matmul(a.asType(.float32), b.asType(.float32))
      let energy = sum(square(exact))
      try eval(a, b, exact, energy)
      func error(of product: MLXArray) throws -> Double {
        try (sum(square(product.asType(.float32) - exact)) / energy).item(Double.self)
      }
      for encoder in encoders {
        func product(_ randomization: ProductRandomization) -> MLXArray {
          approximateMatmul(a, b, encoder: encoder, randomization: randomization)
        }
        let timings = try measure(
          [
            { [matmul(a, b)] }, { [product(.none)] },
            { [product(.signsAndPermutations(seed: 0))] },
          ], seconds: 0.2)
        let randomized = try (0..<max(1, seeds)).map { seed in
          try error(of: product(.signsAndPermutations(seed: UInt64(seed))))
        }
        rows.append(
          Row(
            encoder: encoder.name, rank: encoder.rank, inputs: kind, predicted: encoder.error,
            condition: try tileCondition(a, tile: encoder.tile)
              * tileCondition(b, tile: encoder.tile),
            measured: try error(of: product(.none)),
            randomizedPredicted: try expectedRandomizedError(a, b, encoder: encoder),
            randomizedMeasured: randomized.reduce(0, +) / Double(randomized.count),
            milliseconds: timings[1].median, randomizedMilliseconds: timings[2].median,
            denseMilliseconds: timings[0].median,
            costRatio: encoder.costRatio(rows: m, inputs: k, outputs: n)))
      }
    }
    return ProductBenchmark(
      shape: [m, k, n], dtype: dtype.rawValue, seeds: seeds, rows: rows, machine: .current())
  }

  /// The figures as text, with what they were measured on.
  public var table: String {
    var table = TextTable([
      "encoder", "operands", "predicted", "measured", "condition", "randomised", "measured",
      "multiply-adds", "ms", "randomised", "dense",
    ])
    for row in rows {
      table.append([
        row.encoder, row.inputs.rawValue, decimal(row.predicted, places: 4),
        decimal(row.measured, places: 4), decimal(row.condition, places: 1),
        decimal(row.randomizedPredicted, places: 4), decimal(row.randomizedMeasured, places: 4),
        decimal(row.costRatio, places: 2), decimal(row.milliseconds, places: 1),
        decimal(row.randomizedMilliseconds, places: 1), decimal(row.denseMilliseconds, places: 1),
      ])
    }
    return """
      \(shape.map(String.init).joined(separator: "×")) \(dtype), \(machine.summary)
      Errors are relative squares. Predicted is the encoder's, for isotropic operands; condition says how
      far from that they are (1 is isotropic). Randomised means are over \(seeds) seeds.
      \(table)
      """
  }
}
