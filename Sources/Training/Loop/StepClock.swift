/// How long steps take, without the first, which compiles, and without what happens between them.
struct StepClock {
  private var last: ContinuousClock.Instant?
  private var hasCompiled = false
  private var recentSteps: [Double] = []
  private var sum = 0.0
  private var count = 0

  /// Seconds of all steps.
  private(set) var total = 0.0
  /// Whether the step that is looked at is one behind the last that was started.
  var isAhead = false

  /// Begins to count: evaluations and checkpoints before this are no part of a step.
  mutating func start() { last = .now }

  /// A step is done.
  mutating func tick() {
    let now = ContinuousClock.now
    guard let last else { return }
    let seconds = (now - last) / .seconds(1)
    self.last = now
    total += seconds
    guard hasCompiled else {
      hasCompiled = true
      return
    }
    sum += seconds
    count += 1
    recentSteps.append(seconds)
    if recentSteps.count > 20 { recentSteps.removeFirst() }
  }

  /// Seconds of a step, the mean of the last twenty.
  var recent: Double? {
    recentSteps.isEmpty ? nil : recentSteps.reduce(0, +) / Double(recentSteps.count)
  }

  /// Seconds of a step, the mean of all.
  var mean: Double? { count > 0 ? sum / Double(count) : nil }
}
