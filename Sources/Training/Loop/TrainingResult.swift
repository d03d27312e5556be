import Reports

/// Where a run is, after every step.
public struct TrainingProgress: Sendable {
  /// What the step measured.
  public let metric: TrainingMetric
  /// How many steps there are.
  public let steps: Int
  /// `tokens` or `images`.
  public let unit: String
  /// Seconds that the rest will take at the present rate.
  public let secondsLeft: Double?
}

/// What came of a run.
public struct TrainingResult: Codable, Hashable, Sendable {
  /// Why the run ended.
  public enum Ending: String, Codable, Sendable {
    /// All steps are done.
    case finished
    /// It was asked to stop; a checkpoint holds its place.
    case interrupted
  }

  /// The kind of model.
  public var model: String
  /// Why it ended.
  public var ending: Ending
  /// Steps done, in this run and those it resumed.
  public var step: Int
  /// Steps of the recipe.
  public var steps: Int
  /// The loss of the last step's batch.
  public var trainingLoss: Double?
  /// The loss on validation examples.
  public var validationLoss: Double?
  /// The share of validation targets that the largest logit hits.
  public var validationAccuracy: Double?
  /// Tokens or images a second, without the first step, which compiles.
  public var perSecond: Double
  /// The share of the device's peak rate, where one is known.
  public var utilization: Double?
  /// Seconds of training, in this run and those it resumed.
  public var seconds: Double
  /// Numbers that the model stores.
  public var parameters: Int
  /// What an example costs.
  public var cost: TrainingCost
  /// How many processes trained together.
  public var processes: Int
  /// The folder of the last checkpoint, if the recipe keeps any.
  public var checkpoint: String?
  /// What it was measured on.
  public var machine: MachineSheet

  /// A few lines.
  public var summary: String {
    var lines = [
      "\(ending.rawValue) at step \(step) of \(steps) after \(decimal(seconds, places: 1)) s, "
        + "\(decimal(perSecond, places: 0)) \(cost.unit) a second"
        + (utilization.map { ", \(decimal(100 * $0, places: 1)) % of the peak" } ?? "")
    ]
    if let trainingLoss { lines.append("training loss \(decimal(trainingLoss, places: 4))") }
    if let validationLoss {
      lines.append(
        "validation loss \(decimal(validationLoss, places: 4))"
          + (validationAccuracy.map { ", accuracy \(decimal($0, places: 4))" } ?? ""))
    }
    if let checkpoint { lines.append("checkpoint: \(checkpoint)") }
    return lines.joined(separator: "\n")
  }
}
