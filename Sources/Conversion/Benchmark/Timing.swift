import MLX

/// Repeated measurements of one job.
public struct Timing: Codable, Hashable, Sendable {
  /// Seconds, ascending.
  public var seconds: [Double]

  /// Makes a timing of one measurement or more.
  init(_ seconds: [Double]) {
    self.seconds = seconds.sorted()
  }

  /// The median, in milliseconds.
  public var median: Double { seconds[seconds.count / 2] * 1e3 }

  /// The quartiles, in milliseconds: how much the measurement scatters.
  public var quartiles: ClosedRange<Double> {
    (seconds[seconds.count / 4] * 1e3)...(seconds[seconds.count * 3 / 4] * 1e3)
  }
}

/// Times several jobs in turn: A B C A B C …, so that a drift of the machine's speed meets all of
/// them alike.
///
/// Each job runs once before it counts; short jobs are repeated more often, up to about `seconds`
/// for each job. Throws what a job throws.
public func measure(
  _ jobs: [() throws -> [MLXArray]], repetitions: Int = 7, seconds: Double = 0.5
) throws -> [Timing] {
  let clock = ContinuousClock()
  func time(_ job: () throws -> [MLXArray]) throws -> Double {
    try clock.measure { try eval(job()) } / .seconds(1)
  }
  var longest = 0.0
  for job in jobs {
    _ = try time(job)
    longest = max(longest, try time(job))
  }
  let rounds = max(3, min(200, max(repetitions, Int(seconds / max(longest, 1e-6)))))
  var times = [[Double]](repeating: [], count: jobs.count)
  for _ in 0..<rounds {
    for (index, job) in jobs.enumerated() { times[index].append(try time(job)) }
  }
  return times.map(Timing.init)
}
