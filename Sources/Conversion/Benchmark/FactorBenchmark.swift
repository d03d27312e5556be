import Foundation
import Kernels
import MLX
import Operators
import Reports

/// Kronecker-sparse factors by every method of this machine, beside the usual ways and the dense
/// product, in one run: predicted and measured.
public struct FactorBenchmark: Codable, Sendable {
  /// One way to compute a factor.
  public struct Path: Codable, Sendable {
    /// A ``/Operators/FactorMethod``, `einsum`, or `dense`, whose matrix is there.
    ///
    /// On a GPU the methods' weights are there too, as they read them.
    public var name: String
    /// What was measured.
    public var timing: Timing
    /// What the model expected, in milliseconds.
    public var predicted: Double?
    /// Millijoules of a product, by the GPU's counter: of the method taken and of the best rival.
    public var millijoules: Double?
  }

  /// One pattern.
  public struct Row: Codable, Sendable {
    /// `AxBxCxD`.
    public var pattern: String
    /// The least time at the rates of this run, in milliseconds: bytes moved once, or arithmetic.
    public var limit: Double
    /// The method that the library takes, and what it expected of each.
    public var choice: String, reason: String
    /// The median of the method taken, in milliseconds, and over the limit.
    public var milliseconds: Double, overLimit: Double
    /// The time of the best rival (composed, einsum, dense) over that of the method taken; `nil` where
    /// none was measured.
    public var ratio: Double?
    /// The time of the method taken over that of the fastest one: 1 where the choice is right.
    public var regret: Double
    /// All that was measured.
    public var paths: [Path]
    /// What was not, and why.
    public var skipped: [String: String]
  }

  /// M.
  public var rows: Int
  /// The element type.
  public var dtype: String
  /// Whether float32 products may round to TF32.
  public var allowsTF32: Bool
  /// Where the rows of the batch lie.
  public var layout: FactorLayout
  /// Operations a second of a large dense product in this run, in 10¹².
  public var matrixTeraflops: Double
  /// Bytes a second, read and written, of a copy in this run, in 10⁹.
  public var copyGigabytes: Double
  /// The patterns.
  public var patterns: [Row]
  /// What it was measured on.
  public var machine: MachineSheet

  /// The patterns of a file.
  ///
  /// Throws a sentence where it cannot be read, and as ``patterns(in:)``.
  public static func patterns(contentsOf url: URL) throws -> [KroneckerPattern] {
    guard let text = try? String(contentsOf: url, encoding: .utf8) else {
      throw BenchmarkError(
        "[factors] expected a text file of patterns, cannot read "
          + "\(url.path(percentEncoded: false)); write patterns such as 1x64x64x16 in it, one a line."
      )
    }
    return try patterns(in: text)
  }

  /// The patterns in a text: `AxBxCxD` each, apart by spaces or lines; `#` begins a comment.
  ///
  /// Throws a sentence with the first word that is no pattern.
  public static func patterns(in text: String) throws -> [KroneckerPattern] {
    let words = text.split(separator: "\n", omittingEmptySubsequences: false).flatMap { line in
      line.prefix { $0 != "#" }.split { $0.isWhitespace }
    }
    guard !words.isEmpty else {
      throw BenchmarkError(
        "[factors] expected patterns such as 1x64x64x16, got none; write one a line.")
    }
    return try words.map { word in
      let sizes = word.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
      guard sizes.count == 4, let a = sizes[0], let b = sizes[1], let c = sizes[2],
        let d = sizes[3], [a, b, c, d].allSatisfy({ (1...1 << 20).contains($0) }),
        a.multipliedReportingOverflow(by: d).partialValue * max(b, c) <= 1 << 24
      else {
        throw BenchmarkError(
          "[factors] expected a pattern AxBxCxD of positive integers, such as 1x64x64x16, with at "
            + "most \(1 << 24) inputs and outputs, got '\(word)'.")
      }
      return KroneckerPattern(a, b, c, d)
    }
  }

  /// Measures the patterns on random data.
  ///
  /// What is expected to take more than 30 times what is chosen is left out, as is a dense matrix of
  /// more than 2²⁷ numbers. Energy is read over `energySeconds` each, if there is a counter. `progress` is
  /// called before each pattern, and whether to stop there asked: then the result has those before.
  ///
  /// Throws what `progress` throws.
  public static func run(
    _ patterns: [KroneckerPattern], rows: Int, dtype: DType, layout: FactorLayout = .first,
    energySeconds: Double = 0.3,
    progress: (_ completed: Int, _ total: Int, _ pattern: String) throws -> Void = { _, _, _ in },
    isStopRequested: () -> Bool = { false }
  ) throws -> FactorBenchmark {
    try run(
      patterns, rows: rows, dtype: dtype, layout: layout, energySeconds: energySeconds,
      ceilings: { try Ceilings.measured(dtype: dtype) }, progress: progress,
      isStopRequested: isStopRequested)
  }

  static func run(
    _ patterns: [KroneckerPattern], rows: Int, dtype: DType, layout: FactorLayout,
    energySeconds: Double = 0, ceilings: () throws -> Ceilings,
    progress: (_ completed: Int, _ total: Int, _ pattern: String) throws -> Void = { _, _, _ in },
    isStopRequested: () -> Bool = { false }
  ) throws -> FactorBenchmark {
    if layout == .first { KroneckerPattern.prepare(patterns, rows: rows, dtype: dtype) }
    let ceilings = try ceilings()
    let meter = energySeconds > 0 && Device.default == .gpu ? EnergyMeter() : nil
    var results: [Row] = []
    for (index, pattern) in patterns.enumerated() {
      if isStopRequested() { break }
      try progress(index, patterns.count, "\(pattern)")
      results.append(
        try row(
          pattern, rows: rows, dtype: dtype, layout: layout, ceilings: ceilings,
          energy: meter.map { ($0, energySeconds) }))
      Memory.clearCache()
    }
    return FactorBenchmark(
      rows: rows, dtype: dtype.rawValue,
      allowsTF32: dtype == .float32 && Device.default == .gpu
        && ProcessInfo.processInfo.environment["MLX_ENABLE_TF32"] != "0",
      layout: layout, matrixTeraflops: ceilings.operations / 1e12,
      copyGigabytes: ceilings.bytes / 1e9, patterns: results, machine: .current())
  }

  private static func row(
    _ pattern: KroneckerPattern, rows: Int, dtype: DType, layout: FactorLayout,
    ceilings: Ceilings, energy: (meter: EnergyMeter, seconds: Double)?
  ) throws -> Row {
    let isPrepared = Device.default == .gpu
    let choice = try pattern.choice(
      rows: rows, dtype: dtype, layout: layout, for: isPrepared ? .preparedProduct : .product)
    let keys = MLXRandom.split(key: MLXRandom.key(3), into: 8)
    // On a GPU enough inputs in turn that none is still in its cache.
    let volume = rows * (pattern.inputs + pattern.outputs) * dtype.size
    let copies = Device.default == .gpu ? max(1, min(6, 150_000_000 / volume)) : 1
    let shape = layout == .first ? [rows, pattern.inputs] : [pattern.inputs, rows]
    let xs = keys[..<copies].map { MLXRandom.normal(shape, key: $0).asType(dtype) }
    let w =
      (MLXRandom.normal([pattern.a, pattern.b, pattern.c, pattern.d], key: keys[7])
      / Double(pattern.c).squareRoot()).asType(dtype)
    try eval(xs + [w])
    var repetition = 0
    func next() -> MLXArray {
      repetition += 1
      return xs[repetition % xs.count]
    }

    var skipped = Dictionary(
      uniqueKeysWithValues: choice.obstacles.map { ($0.key.rawValue, $0.value) })
    var jobs: [(name: String, job: () throws -> [MLXArray])] = []
    for method in FactorMethod.allCases {
      guard let seconds = choice.predictions[method] else { continue }
      guard seconds <= 30 * choice.seconds else {
        skipped[method.rawValue] = "expected to take more than 30 times as long"
        continue
      }
      if isPrepared {
        let prepared = pattern.prepare(w, by: method, rows: rows, layout: layout)
        do { try eval(prepared) } catch {
          skipped[method.rawValue] = "\(error)"
          continue
        }
        jobs.append(
          (
            method.rawValue,
            { [pattern.product(next(), prepared: prepared, by: method, layout: layout)] }
          ))
      } else {
        jobs.append(
          (method.rawValue, { [pattern.product(next(), w, by: method, layout: layout)] }))
      }
    }
    jobs.append(("einsum", { [pattern.einsumProduct(next(), w, layout: layout)] }))
    let denseNumbers = Double(pattern.inputs) * Double(pattern.outputs)
    let denseSeconds = 2 * Double(rows) * denseNumbers / ceilings.operations
    if denseNumbers > Double(1 << 27) {
      skipped["dense"] = "the matrix has more than \(1 << 27) numbers"
    } else if denseSeconds > 30 * choice.seconds {
      skipped["dense"] = "expected to take more than 30 times as long"
    } else {
      let matrix = pattern.matrix(w)
      try eval(matrix)
      jobs.append(
        (
          "dense",
          { [layout == .first ? matmul(next(), matrix.transposed()) : matmul(matrix, next())] }
        ))
    }
    // A rival that the engine cannot compute is left out, with its words.
    jobs = jobs.filter { item in
      do {
        try eval(item.job())
        return true
      } catch {
        skipped[item.name] = "\(error)"
        return false
      }
    }
    let timings =
      Device.default == .gpu
      ? try measureQueued(jobs.map(\.job), rounds: 3, seconds: 0.008)
      : try measure(jobs.map(\.job), repetitions: 3, seconds: 0.05)
    var paths = zip(jobs, timings).map { job, timing in
      Path(
        name: job.name, timing: timing,
        predicted: FactorMethod(rawValue: job.name).flatMap { choice.predictions[$0] }
          .map { $0 * 1e3 })
    }
    // Run in turn as they were measured; the last is MLX's own.
    func first(_ job: () throws -> [MLXArray]) throws -> MLXArray {
      repetition = -1
      return try job()[0]
    }
    if let last = jobs.last {
      let expected = try first(last.job)
      for item in jobs.dropLast() {
        try requireAgreement("\(pattern) by \(item.name)", try first(item.job), expected)
      }
    }
    let limit =
      1e3
      * pattern.limit(
        rows: rows, dtype: dtype, bytesPerSecond: ceilings.bytes,
        operationsPerSecond: ceilings.operations)
    func median(_ names: Set<String>) -> Double {
      paths.filter { names.contains($0.name) }.map(\.timing.median).min() ?? .infinity
    }
    let taken = median([choice.method.rawValue])
    let rivals: Set = ["composed", "einsum", "dense"]
    let rival = median(rivals)
    if let energy {
      let best = paths.filter { rivals.contains($0.name) }.min {
        $0.timing.median < $1.timing.median
      }
      for index in paths.indices
      where [choice.method.rawValue, best?.name].contains(paths[index].name) {
        paths[index].millijoules = try measureEnergy(
          jobs[index].job, each: paths[index].timing.median / 1e3, seconds: energy.seconds,
          meter: energy.meter
        ).map { $0 * 1e3 }
      }
    }
    return Row(
      pattern: "\(pattern)", limit: limit, choice: choice.method.rawValue, reason: choice.reason,
      milliseconds: taken, overLimit: taken / limit,
      ratio: rival.isFinite ? rival / taken : nil,
      regret: taken / (paths.map(\.timing.median).min() ?? taken), paths: paths, skipped: skipped)
  }

  /// The figures as text, with what they were measured on.
  public var table: String {
    var table = TextTable([
      "pattern", "limit ms", "taken", "ms", "expected", "of limit", "composed", "einsum", "dense",
      "ratio", "regret", "mJ", "rival mJ",
    ])
    for row in patterns {
      func median(_ name: String) -> String {
        row.paths.first { $0.name == name }.map { decimal($0.timing.median, places: 4) } ?? "–"
      }
      let expected = row.paths.first { $0.name == row.choice }?.predicted
      table.append([
        row.pattern, decimal(row.limit, places: 4), row.choice,
        decimal(row.milliseconds, places: 4), expected.map { decimal($0, places: 4) } ?? "–",
        decimal(row.overLimit, places: 2), median("composed"), median("einsum"), median("dense"),
        row.ratio.map { decimal($0, places: 2) } ?? "–", decimal(row.regret, places: 2),
        row.energy.map { decimal($0.taken, places: 1) } ?? "–",
        row.energy.map { decimal($0.rival, places: 1) } ?? "–",
      ])
    }
    func quantile(_ values: [Double], _ share: Double) -> String {
      let sorted = values.sorted()
      guard !sorted.isEmpty else { return "–" }
      return decimal(sorted[min(sorted.count - 1, Int(share * Double(sorted.count)))], places: 2)
    }
    let over = patterns.map(\.overLimit)
    let ratios = patterns.compactMap(\.ratio)
    let predictions = patterns.compactMap { row in
      row.paths.first { $0.name == row.choice }?.predicted.map { $0 / row.milliseconds }
    }
    let energies = patterns.compactMap(\.energy).map { $0.taken / $0.rival }
    return """
      \(rows) rows \(dtype)\(allowsTF32 ? " (TF32)" : ""), batch \(layout.rawValue), \
      \(machine.summary)
      ceilings in this run: \(decimal(matrixTeraflops)) TFLOP/s, \
      \(decimal(copyGigabytes, places: 1)) GB/s
      \(table)
      of limit: median \(quantile(over, 0.5)), 90 % below \(quantile(over, 0.9))
      ratio to the best rival (composed, einsum, dense): median \(quantile(ratios, 0.5)), least \
      \(quantile(ratios, 0))
      expected over measured: median \(quantile(predictions, 0.5)), 10 to 90 % \
      \(quantile(predictions, 0.1)) to \(quantile(predictions, 0.9))
      energy over the best rival's: median \(quantile(energies, 0.5))
      """
  }
}

extension FactorBenchmark.Row {
  /// Millijoules of the method taken and of another, the best rival; one that is both is its own rival.
  var energy: (taken: Double, rival: Double)? {
    let known = paths.compactMap { path in path.millijoules.map { (path.name, $0) } }
    guard let taken = known.first(where: { $0.0 == choice }) else { return nil }
    return (taken.1, known.first { $0.0 != choice }?.1 ?? taken.1)
  }
}

/// What is wrong with a benchmark's input: one sentence.
public struct BenchmarkError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The sentence.
  public let description: String

  /// Makes an error.
  public init(_ description: String) {
    self.description = description
  }
}
