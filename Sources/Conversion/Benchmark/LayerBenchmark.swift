import Foundation
import Kernels
import MLX
import Operators
import OrderedCollections
import Reports

/// A measurement of structures against the dense product of the same size, type and device, by every
/// path that this machine has.
public struct LayerBenchmark: Codable, Sendable {
  /// One path's figures.
  public struct Row: Codable, Sendable {
    /// `dense`, or the structure.
    public var name: String
    /// How it was computed.
    public var path: ProductPath
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

  /// What `auto` takes for a structure (without gradients, where the dense weight is kept too), next
  /// to what was measured.
  public struct Automatic: Codable, Sendable {
    /// The structure.
    public var name: String
    /// The choice and its reason.
    public var choice: ProductChoice
    /// The time of the path chosen over that of the fastest one: 1 where the choice is right.
    public var regret: Double
  }

  /// M, K, N.
  public var shape: [Int]
  /// The element type.
  public var dtype: String
  /// Whether the gradients of input and parameters are computed too.
  public var backward: Bool
  /// Whether these include the encoder and decoder of Strassen-Tile.
  public var bases: Bool
  /// Operations a second that a dense product reached in this run, in 10¹²: the layer's own or a large
  /// one, whichever was faster.
  public var matrixTeraflops: Double
  /// Bytes a second, read and written, that a copy reached in this run, in 10⁹.
  public var copyGigabytes: Double
  /// The paths; dense first.
  public var rows: [Row]
  /// What `auto` takes for each structure.
  public var automatic: [Automatic]
  /// What it was measured on.
  public var machine: MachineSheet

  /// Measures the structures and the dense layer, on random data.
  ///
  /// X is [1, M, K]: rows are tokens of one sample. `backward` adds the gradients of X and the
  /// parameters, `bases` those of Strassen-Tile's encoder and decoder, else frozen. Throws if a spec does not fit the sizes.
  public static func run(
    rows m: Int, inputs k: Int, outputs n: Int, specs: [OperatorSpec], dtype: DType = .float32,
    backward: Bool = false, bases: Bool = false, seed: UInt64 = 0
  ) throws -> LayerBenchmark {
    try run(
      rows: m, inputs: k, outputs: n, specs: specs, dtype: dtype, backward: backward, bases: bases,
      seed: seed
    ) { try Ceilings.measured(dtype: dtype) }
  }

  static func run(
    rows m: Int, inputs k: Int, outputs n: Int, specs: [OperatorSpec], dtype: DType,
    backward: Bool, bases: Bool = false, seed: UInt64, ceilings: () throws -> Ceilings
  ) throws -> LayerBenchmark {
    let operators = [.dense] + specs.filter { $0 != .dense }
    let structures = try operators.map { try $0.makeOperator(inputs: k, outputs: n) }
    let keys = MLXRandom.split(key: MLXRandom.key(seed), into: structures.count + 2)
    // On a GPU enough inputs in turn that none is still in its cache.
    let volume = (m * k + m * n) * dtype.size
    let copies = Device.default == .gpu ? max(1, min(6, 150_000_000 / volume)) : 1
    let xs = MLXRandom.split(key: keys[0], into: max(2, copies))[..<copies].map {
      MLXRandom.normal([1, m, k], key: $0).asType(dtype)
    }
    let weights = zip(structures, keys.dropFirst(2)).map { structure, key in
      structure.initialize(key: key).mapValues {
        $0.dtype.isFloatingPoint ? $0.asType(dtype) : $0
      }
    }
    try eval(xs + weights.flatMap(\.values))
    var paths: [(structure: Int, path: ProductPath)] = []
    for (index, structure) in structures.enumerated() {
      paths.append((index, index == 0 ? .dense : .reference))
      let choice = structure.choice(shape: [1, m, k], dtype: dtype, keepsDense: false)
      // Measured also where it is not chosen, so that a wrong choice shows.
      if choice.predictions[.kernels] != nil { paths.append((index, .kernels)) }
    }
    let products = try paths.map { item in
      try product(
        structures[item.structure], weights[item.structure], rows: m, dtype: dtype, item.path,
        backward: backward, bases: bases)
    }
    let timings = try measure(
      products.map { product in
        var repetition = 0
        return {
          repetition += 1
          return try product(xs[repetition % xs.count])
        }
      })
    // Run in turn as they were measured; the composed product of a structure comes before its kernels. With the gradients, if
    // they were measured.
    for (index, item) in paths.enumerated() where item.path == .kernels {
      for (ours, composed) in zip(try products[index](xs[0]), try products[index - 1](xs[0])) {
        try requireAgreement("\(operators[item.structure]) by kernels", ours, composed)
      }
    }
    let passes = backward ? 3.0 : 1.0
    var ceilings = try ceilings()
    // The dense path may beat the product that the ceiling was measured on.
    let dense = 2 * passes * Double(m) * Double(n) * Double(k) / timings[0].seconds[0]
    ceilings.operations = max(ceilings.operations, dense)
    let rows = zip(paths, timings).map { item, timing in
      let cost = structures[item.structure].cost
      let operations = 2 * cost.multiplyAdds * Double(m) * passes
      let bytes =
        cost.bytes(rows: m, inputs: k, outputs: n, elementSize: dtype.size) * passes
      let least = max(operations / ceilings.operations, bytes / ceilings.bytes)
      let seconds = timing.median / 1e3
      return Row(
        name: "\(operators[item.structure])", path: item.path, timing: timing,
        ratio: timings[0].median / timing.median,
        nominalTeraflops: operations / seconds / 1e12,
        effectiveTeraflops: 2 * Double(m) * Double(n) * Double(k) * passes / seconds / 1e12,
        shareOfLimit: least / seconds, multiplyAdds: cost.multiplyAdds,
        parameters: cost.parameters)
    }
    let automatic = zip(operators, structures).dropFirst().map { spec, structure in
      // A gradient is of the structure's own parameters: there is no dense path to it.
      let choice = structure.choice(shape: [1, m, k], dtype: dtype, keepsDense: !backward)
      let own = rows.filter { $0.name == "\(spec)" }
      let chosen = choice.path == .dense ? rows[0] : own.first { $0.path == choice.path }
      let fastest = ((backward ? [] : [rows[0]]) + own).map(\.timing.median).min() ?? 0
      return Automatic(
        name: "\(spec)", choice: choice,
        regret: (chosen?.timing.median ?? .infinity) / fastest)
    }
    return LayerBenchmark(
      shape: [m, k, n], dtype: dtype.rawValue, backward: backward, bases: bases,
      matrixTeraflops: ceilings.operations / 1e12, copyGigabytes: ceilings.bytes / 1e9, rows: rows,
      automatic: Array(automatic), machine: .current())
  }

  /// The figures as text, with what they were measured on.
  public var table: String {
    var table = TextTable([
      "structure", "path", "ms", "quartiles", "ratio", "TFLOP/s", "effective", "of limit",
      "multiply-adds", "parameters",
    ])
    for row in rows {
      let quartiles = row.timing.quartiles
      table.append([
        row.name, row.path.rawValue, decimal(row.timing.median),
        "\(decimal(quartiles.lowerBound))–\(decimal(quartiles.upperBound))",
        decimal(row.ratio, places: 2), decimal(row.nominalTeraflops),
        decimal(row.effectiveTeraflops), decimal(row.shareOfLimit, places: 2),
        decimal(row.multiplyAdds, places: 0), "\(row.parameters)",
      ])
    }
    let choices = automatic.map { item in
      let verdict =
        item.regret <= 1.03
        ? "right" : "\(decimal(item.regret, places: 2)) times the fastest path's time"
      return "auto, \(item.name): \(item.choice.path.rawValue) (\(verdict)); \(item.choice.reason)"
    }
    return """
      \(shape.map(String.init).joined(separator: "×")) \(dtype)\
      \(backward ? ", forward and backward\(bases ? " with bases" : "")" : ""), \(machine.summary)
      ceilings in this run: \(decimal(matrixTeraflops)) TFLOP/s, \(decimal(copyGigabytes, places: 1)) GB/s
      \(table)\(choices.isEmpty ? "" : "\n" + choices.joined(separator: "\n"))
      """
  }

  /// The product of a path, or that and the gradients of input and parameters, of rows [1, M, K]; without
  /// gradients the kernels' weights are prepared.
  private static func product(
    _ structure: any LinearOperator, _ parameters: Parameters, rows: Int, dtype: DType,
    _ path: ProductPath, backward: Bool, bases: Bool
  ) throws -> (MLXArray) throws -> [MLXArray] {
    func product(_ x: MLXArray, _ parameters: Parameters) -> MLXArray {
      path == .kernels
        ? structure.kernelProduct(x, parameters, bias: nil, activation: .none)
        : structure.referenceProduct(x, parameters)
    }
    guard backward else {
      // As a layer that is only used keeps it.
      if path == .kernels,
        let prepared = try structure.prepared(parameters, rows: rows, dtype: dtype)
      {
        try eval(prepared.arrays)
        return { x in
          let y = prepared(x.reshaped(rows, structure.inputs), bias: nil, activation: .none)
          return [y ?? product(x, parameters)]
        }
      }
      return { [product($0, parameters)] }
    }
    let frozen = !bases && structure is StrassenTile ? StrassenTile.bases : []
    let trainable = parameters.filter {
      $0.value.dtype.isFloatingPoint && !frozen.contains($0.key)
    }
    let names = Array(trainable.keys)
    // Random: the gradient of a plain sum would be the same number everywhere.
    let dy = MLXRandom.normal(
      [1, rows, structure.outputs], key: MLXRandom.key(7)
    ).asType(dtype)
    return { x in
      let (values, gradients) = try vjp(
        { arguments in
          var replaced = parameters
          for (name, array) in zip(names, arguments.dropFirst()) { replaced[name] = array }
          return [product(arguments[0], replaced)]
        }, primals: [x] + trainable.values, cotangents: [dy])
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
    let copy = { gpu ? large + 1 : CPU.copy(large) }
    let timings = try measure([{ [matmul(a, b)] }, { [copy()] }], repetitions: 5)
    let volume = Double(side) * Double(side) * Double(side)
    return Ceilings(
      operations: 2 * volume / (timings[0].seconds[0]),
      bytes: 2 * Double(large.nbytes) / (timings[1].seconds[0]))
  }
}
