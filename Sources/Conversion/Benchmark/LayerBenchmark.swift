import Foundation
import MLX
import Operators
import OrderedCollections
/// A measurement of structures against the dense product of the same size, type and device.
public struct LayerBenchmark: Codable, Sendable {
  /// One path's figures.
  public struct Row: Codable, Sendable {
    /// `dense`, or the structure.
    public var name: String
    /// The product, or the product and its gradients.
    public var timing: Timing
    /// The dense product's median over this one's: above 1 is faster than dense.
    public var ratio: Double
    /// Multiply-adds and additions really done, in 10¹² a second.
    public var nominalTeraflops: Double
    /// Those of the dense product over this path's time, in 10¹² a second.
    public var effectiveTeraflops: Double
    /// The least time that the operations and bytes of this path need at the measured ceilings,
    /// over its median.
    public var shareOfLimit: Double
    /// Multiply-adds a row.
    public var multiplyAdds: Double
    /// Numbers stored.
    public var parameters: Int
  }

  /// M, K, N.
  public var shape: [Int]
  /// The element type.
  public var dtype: String
  /// Whether the gradients of input and parameters are computed too.
  public var backward: Bool
  /// Operations a second that a large dense product reached in this run, in 10¹².
  public var matrixTeraflops: Double
  /// Bytes a second, read and written, that a copy reached in this run, in 10⁹.
  public var copyGigabytes: Double
  /// The paths; dense first.
  public var rows: [Row]
  /// What it was measured on.
  public var machine: MachineSheet

  /// Measures the structures and the dense layer in turn, on random data.
  ///
  /// X is [M, K], or [1, M, K] where rows are tokens. Throws if a spec does not fit the sizes.
  public static func run(
    rows m: Int, inputs k: Int, outputs n: Int, specs: [OperatorSpec], dtype: DType = .float32,
    backward: Bool = false, seed: UInt64 = 0
  ) throws -> LayerBenchmark {
    try run(
      rows: m, inputs: k, outputs: n, specs: specs, dtype: dtype, backward: backward, seed: seed
    ) { try Ceilings.measured(dtype: dtype) }
  }

  static func run(
    rows m: Int, inputs k: Int, outputs n: Int, specs: [OperatorSpec], dtype: DType,
    backward: Bool, seed: UInt64, ceilings: () throws -> Ceilings
  ) throws -> LayerBenchmark {
    let operators = [.dense] + specs.filter { $0 != .dense }
    let structures = try operators.map { try $0.makeOperator(inputs: k, outputs: n) }
    let keys = MLXRandom.split(key: MLXRandom.key(seed), into: structures.count + 2)
    let x = MLXRandom.normal([1, m, k], key: keys[0]).asType(dtype)
    let weights = zip(structures, keys.dropFirst(2)).map { structure, key in
      structure.initialize(key: key).mapValues {
        $0.dtype.isFloatingPoint ? $0.asType(dtype) : $0
      }
    }
    try eval([x] + weights.flatMap(\.values))
    let jobs = zip(structures, weights).map { structure, parameters in
      backward
        ? gradientJob(structure, parameters, x) : { [structure.apply(x, parameters)] }
    }
    let timings = try measure(jobs)
    let ceilings = try ceilings()
    let passes = backward ? 3.0 : 1.0
    let rows = zip(zip(operators, structures), timings).map { pair, timing in
      let cost = pair.1.cost
      let operations = 2 * cost.multiplyAdds * Double(m) * passes
      let bytes =
        cost.bytes(rows: m, inputs: k, outputs: n, elementSize: dtype.size) * passes
      let least = max(operations / ceilings.operations, bytes / ceilings.bytes)
      let seconds = timing.median / 1e3
      return Row(
        name: "\(pair.0)", timing: timing, ratio: timings[0].median / timing.median,
        nominalTeraflops: operations / seconds / 1e12,
        effectiveTeraflops: 2 * Double(m) * Double(n) * Double(k) * passes / seconds / 1e12,
        shareOfLimit: least / seconds, multiplyAdds: cost.multiplyAdds,
        parameters: cost.parameters)
    }
    return LayerBenchmark(
      shape: [m, k, n], dtype: dtype.rawValue, backward: backward,
      matrixTeraflops: ceilings.operations / 1e12, copyGigabytes: ceilings.bytes / 1e9, rows: rows,
      machine: .current())
  }

  /// The figures as text, with what they were measured on.
  public var table: String {
    var table = TextTable([
      "path", "ms", "quartiles", "ratio", "TFLOP/s", "effective", "of limit", "multiply-adds",
      "parameters",
    ])
    for row in rows {
      let quartiles = row.timing.quartiles
      table.append([
        row.name, decimal(row.timing.median),
        "\(decimal(quartiles.lowerBound))–\(decimal(quartiles.upperBound))",
        decimal(row.ratio, places: 2), decimal(row.nominalTeraflops),
        decimal(row.effectiveTeraflops), decimal(row.shareOfLimit, places: 2),
        decimal(row.multiplyAdds, places: 0), "\(row.parameters)",
      ])
    }
    return """
      \(shape.map(String.init).joined(separator: "×")) \(dtype)\
      \(backward ? ", forward and backward" : ""), \(machine.summary)
      ceilings in this run: \(decimal(matrixTeraflops)) TFLOP/s, \(decimal(copyGigabytes, places: 1)) GB/s
      \(table)
      """
  }

  private static func gradientJob(
    _ structure: any LinearOperator, _ parameters: Parameters, _ x: MLXArray
  ) -> () throws -> [MLXArray] {
    let trainable = parameters.filter { $0.value.dtype.isFloatingPoint }
    let names = Array(trainable.keys)
    return {
      let (values, gradients) = try valueAndGrad(
        [x] + trainable.values, argumentNumbers: Array(0...names.count)
      ) { arguments in
        var replaced = parameters
        for (name, array) in zip(names, arguments.dropFirst()) { replaced[name] = array }
        return [sum(structure.apply(arguments[0], replaced).asType(.float32))]
      }
      return values + gradients
    }
  }
}

/// What this machine reaches at best, measured now.
struct Ceilings {
  /// Floating-point operations a second of a large dense product.
  var operations: Double
  /// Bytes a second, read and written, of a copy that no cache holds.
  var bytes: Double

  static func measured(dtype: DType) throws -> Ceilings {
    let gpu = Device.default == .gpu
    let side = gpu ? 8192 : 2048
    let keys = MLXRandom.split(key: MLXRandom.key(1), into: 2)
    let a = MLXRandom.normal([side, side], key: keys[0]).asType(dtype)
    let b = MLXRandom.normal([side, side], key: keys[1]).asType(dtype)
    let large = MLXArray.zeros([gpu ? 1 << 30 : 1 << 26], dtype: .float32)
    try eval(a, b, large)
    let timings = try measure([{ [matmul(a, b)] }, { [large + 1] }], repetitions: 5)
    let volume = Double(side) * Double(side) * Double(side)
    return Ceilings(
      operations: 2 * volume / (timings[0].seconds[0]),
      bytes: 2 * Double(large.nbytes) / (timings[1].seconds[0]))
  }
}
