import Foundation
import MLX
import Reports

/// What came of a study: one document, from which the page and the charts are made.
public struct StudyResults: Codable, Hashable, Sendable {
  /// What came of one run.
  public struct Row: Codable, Hashable, Sendable {
    /// How a run stands.
    public enum Status: String, Codable, Sendable {
      /// All steps are done.
      case finished
      /// It ended with an error, a loss that is not finite for one.
      case failed
      /// It has not begun, or was interrupted.
      case waiting
    }

    /// The labels of its place on the axes.
    public var point: [String]
    /// How it stands.
    public var status: Status
    /// Why it failed.
    public var reason: String?
    /// Numbers that the model stores.
    public var parameters: Int
    /// Multiply-adds of an example going forward, encode and decode counted.
    public var multiplyAdds: Double
    /// Steps done.
    public var steps: Int?
    /// The loss of the last step's batch.
    public var trainingLoss: Double?
    /// The loss on validation examples.
    public var validationLoss: Double?
    /// The share of validation targets that the largest logit misses.
    public var validationError: Double?
    /// Seconds of the steps, with as many runs beside this one as ``StudyResults/jobs`` allows.
    public var seconds: Double?
    /// Seconds of a step, the mean of a run that had the device for itself.
    public var stepSeconds: Double?
  }

  /// The version of the document.
  public var version = 1
  /// What the study is about.
  public var title: String
  /// The command that ran it.
  public var command: String
  /// What it ran on.
  public var machine: MachineSheet
  /// GPUs that runs were shared out to; 0 on the CPU.
  public var gpus: Int
  /// Runs at a time.
  public var jobs: Int
  /// Seconds from the first run's begin to the last one's end, in this call of the command.
  public var seconds: Double
  /// The names of the axes.
  public var axes: [String]
  /// What an example is made of: `tokens` or `images`.
  public var unit: String
  /// What is read off the rows.
  public var analysis: StudyAnalysis
  /// The study's file.
  public var definition: String
  /// The runs.
  public var rows: [Row]

  /// Reads a document that a study wrote.
  ///
  /// Throws a sentence where the file is none.
  public init(contentsOf url: URL) throws {
    do {
      self = try JSONDecoder().decode(StudyResults.self, from: Data(contentsOf: url))
    } catch {
      throw TrainingError(
        "[study] expected the results of a study, got \(url.path(percentEncoded: false)); name the "
          + "study.json that `tessera study` wrote.")
    }
    guard version == 1 else {
      throw TrainingError(
        "[study] expected results of version 1, got version \(version); use the program that wrote "
          + "them.")
    }
  }

  init(
    _ study: Study, command: String, machine: MachineSheet, gpus: Int, jobs: Int, seconds: Double,
    rows: [Row]
  ) {
    title = study.title
    axes = study.axes
    analysis = study.analysis
    definition = study.definition
    unit = study.runs.first?.cost.unit ?? "examples"
    self.command = command
    self.machine = machine
    self.gpus = gpus
    self.jobs = jobs
    self.seconds = seconds
    self.rows = rows
  }

  /// The document.
  public var json: String {
    get throws {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
      return String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
    }
  }

  /// How many rows stand so.
  public func count(_ status: Row.Status) -> Int { rows.count { $0.status == status } }

  /// What a row is judged by; `nil` where there is nothing, or nothing finite.
  func score(_ row: Row) -> Double? {
    let value = analysis.measure == .loss ? row.validationLoss : row.validationError
    return row.status == .finished ? value.flatMap { $0.isFinite ? $0 : nil } : nil
  }

  /// A row's label on an axis.
  func label(_ row: Row, _ axis: String) -> String {
    axes.firstIndex(of: axis).flatMap { row.point.indices.contains($0) ? row.point[$0] : nil }
      ?? "-"
  }
}
