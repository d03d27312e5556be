import Kernels
import Layers
import MLX
import MLXNN
import Models
import Operators
import OrderedCollections
import Reports

/// A measurement of a whole model beside copies of it with structures in the place of dense layers:
/// one pass forward, recorded by `compile`, all in one run.
public struct ModelBenchmark: Codable, Sendable {
  /// What a model's throughput counts.
  public enum Units: String, Codable, Sendable {
    /// Tokens read.
    case tokens
    /// Images seen.
    case images
  }

  /// One model's figures.
  public struct Row: Codable, Sendable {
    /// The model's name.
    public var model: String
    /// The structure of the layers that were replaced, `nil` where none was.
    public var spec: String?
    /// The number of layers with a structure.
    public var structuredLayers: Int
    /// The time of one pass: the latency of the batch.
    public var timing: Timing
    /// ``ModelBenchmark/units`` a second.
    public var throughput: Double
    /// The first model's median over this one's: above 1 is faster.
    public var ratio: Double
    /// Multiply-adds of the stack's linear layers over the first model's, a row.
    public var multiplyAdds: Double
    /// Bytes of the parameters.
    public var parameterBytes: Int
    /// The most bytes in use in a pass, parameters included.
    public var peakBytes: Int
    /// Joules of one pass by NVML's counter; `nil` on a CPU.
    public var joules: Double?
  }

  /// The number of sequences or images.
  public var batch: Int
  /// Tokens of a sequence; `nil` for images.
  public var tokens: Int?
  /// What the throughput counts.
  public var units: Units
  /// The element type.
  public var dtype: String
  /// The layers that were asked for, as patterns; none for all of the stack.
  public var layers: [String]
  /// The models; the one that is compared with first.
  public var rows: [Row]
  /// What it was measured on.
  public var machine: MachineSheet

  /// Measures a model, another one where given, and the first with each structure, on random data.
  ///
  /// No patterns of layers mean all linear layers of the stack, which are those with a number in their
  /// path. Weights of structures are drawn: a pass takes as long as with fitted ones.
  ///
  /// Throws a sentence if a pattern matches no dense layer, what loading throws, and
  /// `StrassenTileError` for a structure that the model cannot bear.
  public static func run(
    model source: ModelSource, against other: ModelSource? = nil, specs: [OperatorSpec],
    layers patterns: [LayerPattern] = [], batch: Int, tokens: Int, dtype: DType = .float32
  ) throws -> ModelBenchmark {
    try run(
      models: [(name: "\(source)", make: { try source.load(dtype: dtype) })]
        + [other].compactMap(\.self).map { source in
          (name: "\(source)", make: { try source.load(dtype: dtype) })
        },
      specs: specs, layers: patterns, batch: batch, tokens: tokens, dtype: dtype)
  }

  static func run(
    models: [(name: String, make: () throws -> any CheckpointModel)], specs: [OperatorSpec],
    layers patterns: [LayerPattern], batch: Int, tokens: Int, dtype: DType
  ) throws -> ModelBenchmark {
    let plain = models.map { (name: $0.name, make: $0.make, spec: OperatorSpec?.none) }
    let structured = specs.map { (name: models[0].name, make: models[0].make, spec: Optional($0)) }
    let variants = try (plain + structured).map { item in
      try Variant(
        name: item.name, model: item.make(), spec: item.spec, patterns: patterns, batch: batch,
        tokens: tokens, dtype: dtype)
    }
    let peaks = try variants.map { try $0.peak(beside: variants) }
    let timings = try measure(variants.map(\.job))
    let joules = try variants.indices.map { try variants[$0].joules(timings[$0]) }
    let rowsOfUnits = variants[0].units == .tokens ? batch * tokens : batch
    return ModelBenchmark(
      batch: batch, tokens: variants[0].units == .tokens ? tokens : nil, units: variants[0].units,
      dtype: dtype.rawValue, layers: patterns.map(\.description),
      rows: variants.indices.map { index in
        let variant = variants[index]
        return Row(
          model: variant.name, spec: variant.spec.map { "\($0)" },
          structuredLayers: variant.structuredLayers, timing: timings[index],
          throughput: Double(rowsOfUnits) / timings[index].median * 1e3,
          ratio: timings[0].median / timings[index].median,
          multiplyAdds: variant.multiplyAdds / variants[0].multiplyAdds,
          parameterBytes: variant.parameterBytes, peakBytes: peaks[index], joules: joules[index])
      }, machine: .current())
  }

  /// The figures as text, with what they were measured on.
  public var table: String {
    var table = TextTable([
      "model", "layers", "ms", "quartiles", "ratio", "\(units.rawValue)/s", "multiply-adds",
      "weights GiB", "peak GiB", "J",
    ])
    func gibibytes(_ bytes: Int) -> String { decimal(Double(bytes) / Double(1 << 30), places: 2) }
    for row in rows {
      let quartiles = row.timing.quartiles
      table.append([
        row.spec.map { "\(row.model) \($0)" } ?? row.model, "\(row.structuredLayers)",
        decimal(row.timing.median),
        "\(decimal(quartiles.lowerBound))–\(decimal(quartiles.upperBound))",
        decimal(row.ratio, places: 2), decimal(row.throughput, places: 0),
        decimal(row.multiplyAdds, places: 2), gibibytes(row.parameterBytes),
        gibibytes(row.peakBytes), row.joules.map { decimal($0, places: 2) } ?? "–",
      ])
    }
    let work = tokens.map { "\(batch)×\($0) tokens" } ?? "\(batch) images"
    return """
      \(work), \(dtype), \(machine.summary)
      \(table)
      """
  }
}

/// A model that takes part, ready to run.
private struct Variant {
  let name: String
  let spec: OperatorSpec?
  let units: ModelBenchmark.Units
  let structuredLayers: Int
  let multiplyAdds: Double
  let parameterBytes: Int
  /// One pass.
  let job: () throws -> [MLXArray]

  init(
    name: String, model: any CheckpointModel, spec: OperatorSpec?, patterns: [LayerPattern],
    batch: Int, tokens: Int, dtype: DType
  ) throws {
    (self.name, self.spec) = (name, spec)
    if let spec {
      let dense = model.namedModules().filter { $0.value is Linear }.keys
      for pattern in patterns where !dense.contains(where: { pattern.matches($0) }) {
        throw ConversionError(
          "[bench model] expected a dense layer that '\(pattern)' matches, found none; see the "
            + "layers with `tessera inspect`.")
      }
      let chosen = dense.filter { path in
        patterns.isEmpty
          ? Variant.isOfTheStack(path) : patterns.contains { $0.matches(path) }
      }
      try model.replaceLayers(chosen.map { (key: $0, value: spec) }, key: MLXRandom.key(2))
    }
    model.train(false)
    try model.apply(filter: { $1.dtype.isFloatingPoint }) { $0.asType(dtype) }
    try eval(model)
    try model.shareEncoders()
    let inspection = Inspection(model)
    structuredLayers = inspection.layers.count { $0.spec != "dense" }
    multiplyAdds = inspection.layers.filter { Variant.isOfTheStack($0.path) }
      .reduce(0) { $0 + $1.multiplyAdds }
    parameterBytes = model.parameters().values.reduce(0) { $0 + $1.nbytes }
    let (input, pass, units) = try ModelWorkload.make(
      for: model, batch: batch, tokens: tokens, dtype: dtype)
    try eval(input)
    self.units = units
    let recorded = compile { [pass($0[0])] }
    job = { recorded([input]) }
  }

  /// Whether a path has a number: the layers before and after the stack have none.
  private static func isOfTheStack(_ path: String) -> Bool {
    path.split(separator: ".").contains { Int($0) != nil }
  }

  /// The most bytes in use in a pass, as if the other models were not there.
  func peak(beside all: [Variant]) throws -> Int {
    try eval(job())
    let others = Memory.active - parameterBytes
    Memory.resetPeak()
    try eval(job())
    return max(parameterBytes, Memory.peak - others)
  }

  /// Joules of one pass, over a second after a third of one as a start.
  func joules(_ timing: Timing) throws -> Double? {
    guard Device.default == .gpu, let meter = EnergyMeter() else { return nil }
    let stream = try Stream.default()
    func repeated(_ seconds: Double) throws -> Int {
      let count = max(2, Int(seconds / (timing.median / 1e3)))
      for _ in 0..<count { try asyncEval(job()) }
      try stream.synchronize()
      return count
    }
    _ = try repeated(0.35)
    guard let before = meter.joules else { return nil }
    let count = try repeated(1)
    return meter.joules.map { ($0 - before) / Double(count) }
  }
}
