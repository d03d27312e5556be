import Foundation
import MLX
import MLXNN
import MLXOptimizers

/// Gauss-Newton beside AdamW on the setting of its paper: a ReLU network of one hidden layer with
/// fixed output weights ±1/√m, unit inputs, and targets of order one.
public struct GaussNewtonBenchmark: Codable, Sendable {
  /// One optimiser on one size.
  public struct Run: Codable, Sendable {
    /// `gauss-newton` with its preconditioner, or `adamw` with its rate.
    public let optimiser: String
    /// Examples, n.
    public let examples: Int
    /// Width of the hidden layer, m; the parameters are m times the inputs.
    public let width: Int
    /// Parameters.
    public let parameters: Int
    /// Steps.
    public let steps: Int
    /// Milliseconds of the median step.
    public let medianMilliseconds: Double
    /// Conjugate gradient iterations of all steps.
    public let iterations: Int
    /// Half the sum of squares after 0, 1, 2, … steps; of AdamW at the same times as Gauss-Newton.
    public let losses: [Double]
    /// Milliseconds at which the losses were reached.
    public let milliseconds: [Double]
  }

  /// How the median step grows: the exponent of a least-squares line in logarithms.
  public struct Growth: Codable, Sendable {
    /// The optimiser.
    public let optimiser: String
    /// What grows, the other kept: `parameters` or `examples`.
    public let with: String
    /// 1 is linear.
    public let exponent: Double
  }

  /// Inputs of the network, d.
  public let inputs: Int
  /// All runs.
  public let runs: [Run]
  /// Exponents of the cost of a step.
  public let growth: [Growth]

  /// Measures: all widths with the first number of examples, and all numbers of examples with the
  /// first width; AdamW as long as the sketched Gauss-Newton took, at three rates.
  public static func run(
    inputs: Int, widths: [Int], examples: [Int], steps: Int, rates: [Double], seed: UInt64,
    progress: (String, Int, Int) throws -> Void
  ) throws -> GaussNewtonBenchmark {
    let sizes =
      widths.map { (examples[0], $0) } + examples.dropFirst().map { ($0, widths[0]) }
    let preconditioners: [(String, GaussNewton.Preconditioner)] = [
      ("gauss-newton, sketch", .sketch(oversampling: 4)), ("gauss-newton, gram", .gram),
      ("gauss-newton, none", .none),
    ]
    var runs: [Run] = []
    for (done, (n, m)) in sizes.enumerated() {
      try progress("\(n) examples, width \(m)", done, sizes.count)
      let setting = Setting(examples: n, inputs: inputs, width: m, seed: seed)
      let newton = try preconditioners.map { name, preconditioner in
        try setting.run(name, preconditioner, steps: steps, repeats: 4)
      }
      runs += newton
      for rate in rates {
        runs.append(try setting.run(adamW: rate, times: newton[0].milliseconds))
      }
    }
    try progress("done", sizes.count, sizes.count)
    let growth = preconditioners.flatMap { name, _ in
      let own = runs.filter { $0.optimiser == name }
      return [
        Growth(
          optimiser: name, with: "parameters",
          exponent: slope(
            own.filter { $0.examples == examples[0] }.map {
              (Double($0.parameters), $0.medianMilliseconds)
            })),
        Growth(
          optimiser: name, with: "examples",
          exponent: slope(
            own.filter { $0.width == widths[0] }.map {
              (Double($0.examples), $0.medianMilliseconds)
            })),
      ]
    }
    return GaussNewtonBenchmark(inputs: inputs, runs: runs, growth: growth)
  }

  /// The slope of the least-squares line through the logarithms; NaN for fewer than two points.
  static func slope(_ points: [(Double, Double)]) -> Double {
    let logs = points.map { (log($0.0), log($0.1)) }
    let count = Double(logs.count)
    let mean = logs.reduce((0, 0)) { ($0.0 + $1.0 / count, $0.1 + $1.1 / count) }
    let covariance = logs.reduce(0) { $0 + ($1.0 - mean.0) * ($1.1 - mean.1) }
    let variance = logs.reduce(0) { $0 + ($1.0 - mean.0) * ($1.0 - mean.0) }
    return variance > 0 ? covariance / variance : .nan
  }

  /// A table of all runs and the exponents.
  public var text: String {
    func number(_ value: Double) -> String { String(format: "%.3g", value) }
    func padded(_ fields: [String]) -> String {
      zip(fields, [24, 9, 8, 11, 10, 11, 0]).map { field, width in
        field + String(repeating: " ", count: max(1, width - field.count))
      }.joined()
    }
    var lines = [
      padded(["optimiser", "examples", "width", "parameters", "ms a step", "iterations", "losses"])
    ]
    for run in runs {
      lines.append(
        padded([
          run.optimiser, String(run.examples), String(run.width), String(run.parameters),
          number(run.medianMilliseconds), String(run.iterations),
          run.losses.map(number).joined(separator: " "),
        ]))
    }
    lines.append("")
    for item in growth {
      lines.append("\(item.optimiser): time of a step ~ \(item.with)^\(number(item.exponent))")
    }
    return lines.joined(separator: "\n")
  }
}

extension GaussNewtonBenchmark {
  /// One problem and its start.
  private struct Setting {
    let examples: Int
    let width: Int
    let problem: PerceptronProblem
    let start: MLXArray

    init(examples: Int, inputs: Int, width: Int, seed: UInt64) {
      (self.examples, self.width) = (examples, width)
      let keys = MLXRandom.split(key: MLXRandom.key(seed), into: 4)
      let x = MLXRandom.normal([examples, inputs], key: keys[0])
      let signs = MLXRandom.bernoulli(0.5, [1, width], key: keys[1]).asType(.float32) * 2 - 1
      problem = PerceptronProblem(
        inputs: x / sqrt(sum(x * x, axis: 1, keepDims: true)),
        targets: MLXRandom.normal([examples, 1], key: keys[2]),
        fixed: [signs / Float(width).squareRoot()])
      start = MLXRandom.normal([width, inputs], key: keys[3])
    }

    private func run(
      _ optimiser: String, steps: Int, iterations: Int, stepTimes: [Double], losses: [Double],
      times: [Double]
    ) -> Run {
      let sorted = stepTimes.sorted()
      return Run(
        optimiser: optimiser, examples: examples, width: width, parameters: start.size,
        steps: steps, medianMilliseconds: sorted[sorted.count / 2], iterations: iterations,
        losses: losses, milliseconds: times)
    }

    /// The fastest of several runs that do the same: others disturb a machine, nobody speeds it up.
    func run(
      _ name: String, _ preconditioner: GaussNewton.Preconditioner, steps: Int, repeats: Int
    ) throws -> Run {
      let runs = try (0..<repeats).map { _ in try run(name, preconditioner, steps: steps) }
      return runs.min { ($0.milliseconds.last ?? 0) < ($1.milliseconds.last ?? 0) } ?? runs[0]
    }

    private func run(
      _ name: String, _ preconditioner: GaussNewton.Preconditioner, steps: Int
    ) throws -> Run {
      var optimiser = GaussNewton(preconditioner: preconditioner)
      var weights = [start]
      var losses = [try GaussNewton.halfSquare(problem.residuals(weights))]
      var (times, stepTimes, iterations) = ([0.0], [Double](), 0)
      for _ in 0..<steps {
        let begin = ContinuousClock.now
        let (moved, report) = try optimiser.step(problem, parameters: weights)
        stepTimes.append((ContinuousClock.now - begin) / .milliseconds(1))
        weights = moved
        iterations += report.iterations
        losses.append(report.loss)
        times.append((times.last ?? 0) + (stepTimes.last ?? 0))
      }
      return run(
        name, steps: steps, iterations: iterations, stepTimes: stepTimes, losses: losses,
        times: times)
    }

    /// AdamW until the last of the times; its loss is noted at the first step past each.
    func run(adamW rate: Double, times: [Double]) throws -> Run {
      let problem = problem
      // A sum is an array of its own: the optimiser writes into its model's.
      let model = Weights(start + 0)
      let optimiser = AdamW(learningRate: Float(rate), weightDecay: 0)
      let loss = valueAndGrad(model: model) { (model: Weights, _: [MLXArray]) in
        let residuals = problem.residuals([model.weight])
        return [sum(residuals * residuals) * 0.5]
      }
      var (losses, stepTimes, total) = ([Double](), [Double](), 0.0)
      var next = 0
      while next < times.count {
        let begin = ContinuousClock.now
        let (values, gradients) = loss(model, [])
        try optimiser.update(model: model, gradients: gradients)
        try eval(values)
        try eval(model, optimiser)
        let time = (ContinuousClock.now - begin) / .milliseconds(1)
        while next < times.count, total >= times[next] {
          losses.append(Double(try values[0].item(Float.self)))
          next += 1
        }
        total += time
        stepTimes.append(time)
      }
      return run(
        "adamw, rate \(rate)", steps: stepTimes.count, iterations: 0, stepTimes: stepTimes,
        losses: losses, times: times)
    }
  }

  private final class Weights: Module {
    @ParameterInfo var weight: MLXArray

    init(_ weight: MLXArray) {
      _weight.wrappedValue = weight
    }
  }
}
