import Foundation

/// A learning rate for every step, counted from 0.
///
/// ```swift
/// optimizer.learningRate = schedule(step)
/// ```
public struct Schedule: Sendable {
  private let rate: @Sendable (Int) -> Double

  /// A schedule by a function of the step.
  public init(_ rate: @escaping @Sendable (Int) -> Double) {
    self.rate = rate
  }

  /// The learning rate at a step.
  public func callAsFunction(_ step: Int) -> Float { Float(rate(max(0, step))) }

  /// How much of `steps` has passed, at most 1.
  private static func progress(_ step: Int, of steps: Int) -> Double {
    steps <= 0 ? 1 : min(1, Double(step) / Double(steps))
  }

  /// The same rate at every step.
  public static func constant(_ rate: Double) -> Schedule {
    Schedule { _ in rate }
  }

  /// From one rate to another in a straight line over a number of steps, then the latter.
  public static func linear(from start: Double, to end: Double, steps: Int) -> Schedule {
    Schedule { start + (end - start) * progress($0, of: steps) }
  }

  /// From one rate to another along half a cosine wave over a number of steps, then the latter.
  ///
  /// Source: Loshchilov, Hutter, "SGDR", 2017, equation 5, without restarts.
  public static func cosine(from start: Double, to end: Double = 0, steps: Int) -> Schedule {
    Schedule { end + (start - end) * (1 + cos(.pi * progress($0, of: steps))) / 2 }
  }

  /// Multiplied by a factor at every step.
  public static func exponential(from start: Double, factor: Double) -> Schedule {
    Schedule { start * pow(factor, Double($0)) }
  }

  /// Multiplied by a factor once in a number of steps.
  public static func step(from start: Double, factor: Double, every steps: Int) -> Schedule {
    Schedule { start * pow(factor, Double($0 / max(1, steps))) }
  }

  /// From zero to the rate at which another schedule begins, in a straight line over a number of
  /// steps, then that schedule from its beginning.
  public static func linearWarmUp(steps: Int, then next: Schedule) -> Schedule {
    let peak = next.rate(0)
    return joined([.linear(from: 0, to: peak, steps: steps), next], boundaries: [steps])
  }

  /// Up from zero in a straight line, the same rate for long, and down in a straight line.
  ///
  /// Source: Hu et al., "MiniCPM", 2024, section 4.2, with a linear decay.
  public static func warmUpStableDecay(
    peak: Double, warmUp: Int, stable: Int, decay: Int, end: Double = 0
  ) -> Schedule {
    joined(
      [
        .linear(from: 0, to: peak, steps: warmUp), .constant(peak),
        .linear(from: peak, to: end, steps: decay),
      ], boundaries: [warmUp, warmUp + stable])
  }

  /// One schedule after the other: the schedule i + 1 begins, from its own step 0, at the ith
  /// boundary.
  ///
  /// There is one boundary fewer than schedules, in ascending order; without schedules the rate is
  /// zero.
  public static func joined(_ schedules: [Schedule], boundaries: [Int]) -> Schedule {
    Schedule { step in
      let passed = boundaries.prefix(max(0, schedules.count - 1)).prefix { $0 <= step }
      guard passed.count < schedules.count else { return 0 }
      return schedules[passed.count].rate(step - (passed.last ?? 0))
    }
  }
}
