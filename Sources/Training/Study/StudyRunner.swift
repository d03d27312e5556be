import Foundation
import MLX
import Reports

#if canImport(Glibc)
  import Glibc
#endif

/// Runs a study's trainings as child processes, several at a time.
///
/// Every run has a folder. What came of it is one file there, written when the run has ended: a run
/// that has the file, for the recipe that it would have now, is not repeated.
public final class StudyRunner {
  /// Where a study is.
  public struct Progress: Hashable, Sendable {
    /// Runs and timings that have ended, now or before.
    public var completed: Int
    /// All of them.
    public var total: Int
    /// Those that failed.
    public var failed: Int
    /// Those under way.
    public var running: Int
    /// Seconds that the rest will take, by the mean of those that ended in this call.
    public var secondsLeft: Double?
  }

  /// A run that has ended: its file.
  private struct Outcome: Codable {
    var recipe: String
    var result: TrainingResult?
    var failure: String?
    /// Seconds of a step, where the run was there to time it.
    var stepSeconds: Double?
  }

  /// Something to do in a process.
  private struct Job {
    let run: Study.Run
    let isTiming: Bool
    let folder: URL
    /// The recipe without the folder.
    let recipe: String

    init(_ run: Study.Run, of study: Study, isTiming: Bool) {
      self.run = run
      self.isTiming = isTiming
      folder = study.output.appending(path: isTiming ? "timings" : "runs").appending(path: run.name)
      recipe = isTiming ? Job.timed(run.document, steps: study.timingSteps) : run.document
    }

    /// A recipe of a few steps whose end is of no interest.
    private static func timed(_ document: String, steps: Int) -> String {
      guard var recipe = (try? JSON(parsing: Array(document.utf8)))?.object else { return document }
      recipe["steps"] = .integer(steps)
      recipe["schedule"] = ["kind": "constant"]
      recipe["evaluation"] = ["every": .integer(steps), "examples": 1]
      recipe["checkpoints"] = ["keep": 0]
      return JSON.object(recipe).encoded()
    }
  }

  /// A place where a run can be.
  private struct Slot {
    let gpu: String?
    var job: Job?
    var process: ChildProcess?
    var begin = ContinuousClock.now
  }

  private let study: Study
  private let program: URL
  private let command: String
  private let gpus: [String]
  private let machine: MachineSheet
  private let jobs: Int
  private let minutes: Double?
  private let retries: Bool
  private let trainings: [Job]
  private let timings: [Job]
  private let start = ContinuousClock.now
  /// What ended, by the path of its folder, for the recipe that it has now.
  private var outcomes: [URL: Outcome] = [:]
  private var slots: [Slot] = []
  private var secondsOfEnded: [Double] = []

  /// A runner.
  ///
  /// - Parameters:
  ///   - study: what to run.
  ///   - program: the command `tessera`.
  ///   - command: the command line, for the record.
  ///   - jobs: runs at a time; `nil` for one on the CPU and two a GPU.
  ///   - minutes: the time after which no run begins.
  ///   - retries: whether runs that failed are run again.
  ///
  /// Throws where the folder of the results cannot be written to.
  public init(
    _ study: Study, program: URL, command: String, jobs: Int? = nil, minutes: Double? = nil,
    retries: Bool = false
  ) throws {
    self.study = study
    self.program = program
    self.command = command
    self.minutes = minutes
    self.retries = retries
    gpus = StudyRunner.gpus(
      visible: ProcessInfo.processInfo.environment["CUDA_VISIBLE_DEVICES"],
      count: Device.gpuCount)
    var machine = MachineSheet.current()
    machine.gpu = gpus.isEmpty ? nil : Device.gpu.information["device_name"]
    self.machine = machine
    self.jobs = jobs ?? max(1, 2 * gpus.count)
    trainings = study.runs.map { Job($0, of: study, isTiming: false) }
    timings = study.timedRuns.map { Job($0, of: study, isTiming: true) }
    try FileSystem.makeFolder(study.output)
    try FileSystem.checkWritable(study.output)
    for job in trainings + timings {
      if let outcome = try StudyRunner.outcome(in: job.folder), outcome.recipe == job.recipe {
        outcomes[job.folder] = outcome
      }
    }
  }

  /// The names of the GPUs for `CUDA_VISIBLE_DEVICES` of a child; none on a CPU.
  static func gpus(visible: String?, count: Int) -> [String] {
    guard count > 0 else { return [] }
    let names = visible?.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) } ?? []
    return names.count >= count ? Array(names.prefix(count)) : (0..<count).map(String.init)
  }

  // MARK: - The runs

  /// Does what is left to do and writes the results, after each run and at the end.
  ///
  /// Asked to stop, it asks the runs under way to, and waits for them. Throws where files cannot be
  /// written.
  public func run(
    progress: (Progress) -> Void = { _ in }, isStopRequested: () -> Bool = { false }
  ) throws -> StudyResults {
    try phase(trainings, jobs: jobs, progress, isStopRequested)
    // A step is timed with nothing beside it.
    try phase(timings, jobs: max(1, gpus.count), progress, isStopRequested)
    return try write()
  }

  private func phase(
    _ all: [Job], jobs: Int, _ progress: (Progress) -> Void, _ isStopRequested: () -> Bool
  ) throws {
    var waiting = all.filter { job in
      outcomes[job.folder].map { retries && $0.failure != nil } ?? true
    }[...]
    slots = (0..<min(jobs, waiting.count)).map { index in
      Slot(gpu: gpus.isEmpty ? nil : gpus[index % gpus.count])
    }
    var isStopping = false
    defer { for slot in slots { slot.process?.interrupt() } }
    while true {
      if !isStopping, isStopRequested() {
        isStopping = true
        for slot in slots { slot.process?.interrupt() }
      }
      var hasEnded = false
      for index in slots.indices {
        if let ending = slots[index].process?.poll() {
          try end(index, ending)
          hasEnded = true
        }
        let isLate = minutes.map { (ContinuousClock.now - start) / .seconds(60) >= $0 } ?? false
        if slots[index].process == nil, !isStopping, !isLate, let job = waiting.popFirst() {
          try begin(job, index)
        }
      }
      if hasEnded { _ = try write() }
      progress(self.progress())
      guard slots.contains(where: { $0.process != nil }) else { return }
      Thread.sleep(forTimeInterval: 0.02)
    }
  }

  private func begin(_ job: Job, _ index: Int) throws {
    let files = RunFiles(folder: job.folder)
    // What another recipe left, or a failure; a run that was interrupted goes on.
    if FileManager.default.fileExists(atPath: files.outcome.path) {
      try FileManager.default.removeItem(at: job.folder)
      outcomes[job.folder] = nil
    }
    try FileSystem.makeFolder(job.folder)
    var recipe = try JSON(parsing: Array(job.recipe.utf8)).object ?? JSON.Object()
    recipe["output"] = "run"
    try AtomicFile.write(JSON.object(recipe).encoded(indent: 2), to: files.recipe)
    var environment = ProcessInfo.processInfo.environment
    if let gpu = slots[index].gpu { environment["CUDA_VISIBLE_DEVICES"] = gpu }
    slots[index].process = try ChildProcess(
      program,
      [
        "train", files.recipe.path(percentEncoded: false), "--resume", "--json", "--parent",
        "\(getpid())",
      ], environment: environment, output: files.output, errors: files.errors)
    slots[index].job = job
    slots[index].begin = .now
  }

  /// Takes in what a process that has ended leaves; an interrupted one leaves nothing.
  private func end(_ index: Int, _ ending: ChildProcess.Ending) throws {
    guard let job = slots[index].job else { return }
    (slots[index].process, slots[index].job) = (nil, nil)
    secondsOfEnded.append((ContinuousClock.now - slots[index].begin) / .seconds(1))
    let files = RunFiles(folder: job.folder)
    var outcome = Outcome(recipe: job.recipe)
    if ending == .exit(0) {
      outcome.result = try? JSONDecoder().decode(
        TrainingResult.self, from: Data(contentsOf: files.output))
      if job.isTiming, let result = outcome.result {
        let recent = MetricsFile(url: files.metrics).read().last { $0.perSecond != nil }?.perSecond
        outcome.stepSeconds = recent.map {
          Double(job.run.batch * result.cost.unitsPerExample) / $0
        }
      }
    } else if [.exit(128 + SIGINT), .signal(SIGINT), .signal(SIGTERM)].contains(ending) {
      return
    }
    if outcome.result == nil { outcome.failure = failure(ending, files) }
    let encoder = JSONEncoder()
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    try AtomicFile.write(
      String(decoding: try encoder.encode(outcome), as: UTF8.self), to: files.outcome)
    outcomes[job.folder] = outcome
  }

  /// The sentence that a process ended with.
  private func failure(_ ending: ChildProcess.Ending, _ files: RunFiles) -> String {
    let status: Int32
    switch ending {
    case .signal(let number): return "ended by signal \(number)"
    case .exit(let code): status = code
    }
    let errors = (try? String(contentsOf: files.errors, encoding: .utf8)) ?? ""
    let sentence = errors.split(separator: "\n").last { $0.contains("Error:") }
    return sentence.map { String($0.replacing("Error: ", with: "")) }
      ?? "ended with status \(status) and no sentence"
  }

  // MARK: - What is done

  private struct RunFiles {
    let folder: URL
    var recipe: URL { folder.appending(path: "recipe.yaml") }
    var output: URL { folder.appending(path: "output.json") }
    var errors: URL { folder.appending(path: "errors.txt") }
    var outcome: URL { folder.appending(path: "outcome.json") }
    var metrics: URL { folder.appending(path: "run").appending(path: "metrics.jsonl") }
  }

  private static func outcome(in folder: URL) throws -> Outcome? {
    guard let data = try? Data(contentsOf: RunFiles(folder: folder).outcome) else { return nil }
    let decoder = JSONDecoder()
    decoder.nonConformingFloatDecodingStrategy = .convertFromString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    do {
      return try decoder.decode(Outcome.self, from: data)
    } catch {
      throw TrainingError(
        "[study] expected the outcome of a run in \(folder.path(percentEncoded: false)), got a "
          + "damaged file; delete the folder to run it again.")
    }
  }

  private func progress() -> Progress {
    let total = trainings.count + timings.count
    let mean =
      secondsOfEnded.isEmpty
      ? nil : secondsOfEnded.reduce(0, +) / Double(secondsOfEnded.count)
    return Progress(
      completed: outcomes.count, total: total,
      failed: outcomes.values.count { $0.failure != nil },
      running: slots.count { $0.process != nil },
      secondsLeft: mean.map {
        $0 * Double(total - outcomes.count) / Double(max(1, slots.count))
      })
  }

  /// Writes the results so far.
  private func write() throws -> StudyResults {
    let times = Dictionary(
      uniqueKeysWithValues: timings.map { job in
        (study.model(of: job.run), outcomes[job.folder]?.stepSeconds)
      })
    let rows = trainings.map { job in
      let (run, outcome) = (job.run, outcomes[job.folder])
      return StudyResults.Row(
        point: run.point,
        status: outcome == nil ? .waiting : outcome?.failure == nil ? .finished : .failed,
        reason: outcome?.failure, parameters: run.parameters, multiplyAdds: run.cost.multiplyAdds,
        steps: outcome?.result?.step, trainingLoss: outcome?.result?.trainingLoss,
        validationLoss: outcome?.result?.validationLoss,
        validationError: outcome?.result?.validationAccuracy.map { 1 - $0 },
        seconds: outcome?.result?.seconds, stepSeconds: times[study.model(of: run)] ?? nil)
    }
    let results = StudyResults(
      study, command: command, machine: machine, gpus: gpus.count, jobs: jobs,
      seconds: (ContinuousClock.now - start) / .seconds(1), rows: rows)
    try AtomicFile.write(try results.json, to: study.output.appending(path: "study.json"))
    return results
  }
}
