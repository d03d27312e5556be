import Foundation
import MLX

#if canImport(Glibc)
  import Glibc
#endif

/// What one step, or one evaluation, measured: a line of `metrics.jsonl`.
public struct TrainingMetric: Codable, Hashable, Sendable {
  /// How many steps are done.
  public var step: Int
  /// The mean loss of the step's batch, before its update.
  public var loss: Double?
  /// The learning rate.
  public var rate: Double?
  /// The norm of the gradients before clipping.
  public var norm: Double?
  /// Tokens or images a second.
  public var perSecond: Double?
  /// The share of the device's peak rate, where one is known.
  public var utilization: Double?
  /// The loss on validation examples.
  public var validationLoss: Double?
  /// The share of validation targets that the largest logit hits.
  public var validationAccuracy: Double?
  /// The same two with the running average of the weights.
  public var averageLoss: Double?
  /// The share of targets that it hits.
  public var averageAccuracy: Double?

  init(step: Int) {
    self.step = step
  }
}

/// The file of a run's measurements, a JSON document a line.
struct MetricsFile {
  let url: URL

  /// Reads the lines; one that a kill cut short is left out.
  func read() -> [TrainingMetric] {
    guard let text = try? String(contentsOf: url, encoding: .utf8) else { return [] }
    return text.split(separator: "\n").compactMap {
      try? JSONDecoder().decode(TrainingMetric.self, from: Data($0.utf8))
    }
  }

  /// Keeps the lines up to a step, which is where a resumed run goes on.
  func truncate(after step: Int) throws {
    let kept = try read().filter { $0.step <= step }.map { try MetricsFile.line($0) }
    try AtomicFile.write(kept.joined(), to: url)
  }

  /// Adds a line.
  func append(_ metric: TrainingMetric) throws {
    let path = url.path(percentEncoded: false)
    let descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw FileError.last("write", path) }
    defer { close(descriptor) }
    let line = Array(try MetricsFile.line(metric).utf8)
    guard line.withUnsafeBytes({ write(descriptor, $0.baseAddress, $0.count) }) == line.count
    else { throw FileError.last("write", path) }
  }

  private static func line(_ metric: TrainingMetric) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    return String(decoding: try encoder.encode(metric), as: UTF8.self) + "\n"
  }
}
