import Kernels
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

/// Times several jobs, each as its device wants it.
///
/// On the CPU in turn, A B C A B C …, so that a drift of the machine's speed meets all of them
/// alike; each runs once before it counts; short jobs are repeated more often, up to about `seconds`
/// for each. On a GPU as queues of repetitions, without waiting between them. Throws what a job throws.
public func measure(
  _ jobs: [() throws -> [MLXArray]], repetitions: Int = 7, seconds: Double = 0.5
) throws -> [Timing] {
  if Device.default == .gpu { return try measureQueued(jobs) }
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

/// Times jobs on a GPU: each as a queue of repetitions, without waiting between them.
///
/// A chip at its power limit remembers what ran before, so each job runs three times as long untimed
/// before it is timed for `seconds`, and the order of the jobs is another in each round. The graphs of
/// all repetitions are built before the clock starts, and up to eight short ones are evaluated as one,
/// as those of a model are: alone each would wait for the host.
func measureQueued(
  _ jobs: [() throws -> [MLXArray]], rounds: Int = 5, seconds: Double = 0.02
) throws -> [Timing] {
  let stream = try Stream.default()
  let clock = ContinuousClock()
  func time(
    _ job: () throws -> [MLXArray], _ count: Int, together: Int = 1
  ) throws -> Double {
    var graphs = try (0..<count).map { _ in try (0..<together).flatMap { _ in try job() } }
    try stream.synchronize()
    return try clock.measure {
      // A repetition's arrays go back to the allocator when the next begins.
      for index in graphs.indices {
        try asyncEval(graphs[index])
        graphs[index] = []
      }
      try stream.synchronize()
    } / .seconds(1) / Double(count * together)
  }
  var groups: [Int] = []
  var counts: [Int] = []
  for job in jobs {
    _ = try time(job, 2)
    let alone = try time(job, 4)
    groups.append(max(1, min(8, Int(5e-4 / max(alone, 1e-6)))))
    let single = alone * Double(groups[groups.count - 1])
    counts.append(max(2, min(400, Int(seconds / max(single, 1e-6)))))
  }
  var times = [[Double]](repeating: [], count: jobs.count)
  var generator = SystemRandomNumberGenerator()
  for _ in 0..<rounds {
    for index in jobs.indices.shuffled(using: &generator) {
      func measured() throws -> Double {
        try time(jobs[index], counts[index], together: groups[index])
      }
      for _ in 0..<3 { _ = try measured() }
      times[index].append(try measured())
    }
  }
  return times.map(Timing.init)
}

/// Joules of one run of a job that takes `each` seconds, over about so many seconds; `nil` where the counter
/// does not answer.
func measureEnergy(
  _ job: () throws -> [MLXArray], each: Double, seconds: Double, meter: EnergyMeter
) throws -> Double? {
  let stream = try Stream.default()
  let count = max(8, Int(seconds / max(each, 1e-6)))
  try stream.synchronize()
  guard let start = meter.joules else { return nil }
  for index in 0..<count {
    try asyncEval(job())
    // No more arrays at a time than the device has room for.
    if index % 32 == 31 { try stream.synchronize() }
  }
  try stream.synchronize()
  guard let end = meter.joules else { return nil }
  return (end - start) / Double(count)
}

/// Throws where a product that was measured is not the one it is held against: the time of a wrong product says
/// nothing.
func requireAgreement(_ name: String, _ y: MLXArray, _ expected: MLXArray) throws {
  let largest = try abs(expected).max().item(Float.self)
  let difference = try abs(y - expected).max().item(Float.self)
  guard difference <= 0.05 * largest else {
    throw BenchmarkError(
      "[bench] expected of \(name) the same product as by MLX, got one off by \(difference) where the largest number is "
        + "\(largest); run `tessera doctor --check`.")
  }
}
