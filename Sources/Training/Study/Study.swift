import Foundation
import MLX
import Models
import Operators

/// A grid of trainings: one base recipe, axes that change keys of it, and what is to be read off the
/// results.
///
/// A study is a YAML file, which ``init(contentsOf:)`` reads and checks whole, every run's recipe
/// included. The article on studies shows all its keys.
public struct Study: Sendable {
  /// One training of a study.
  public struct Run: Hashable, Sendable {
    /// The labels of its place on the axes, in their order.
    public let point: [String]
    /// The name of its folder: the labels, joined.
    public let name: String
    /// Its recipe as one JSON document with absolute paths; where the run writes is not in it.
    let document: String
    /// Numbers that the model stores.
    public let parameters: Int
    /// What an example costs going forward, encode and decode counted.
    public let cost: TrainingCost
    /// Examples of a step.
    let batch: Int
  }

  /// What the study is about.
  public let title: String
  /// The names of the axes.
  public let axes: [String]
  /// The runs, in the order in which they begin.
  public let runs: [Run]
  /// What is read off the results.
  public let analysis: StudyAnalysis
  /// Steps of the run of its own in which each model's step is timed, alone on its device; 0 for
  /// none.
  public let timingSteps: Int
  /// The folder of the results.
  public let output: URL
  /// The text of the file.
  let definition: String

  /// The runs that are timed: the first of each model, whatever rate and seed it is trained with.
  ///
  /// What a step costs depends on parameters, operations and the structure alone.
  var timedRuns: [Run] {
    guard timingSteps > 0 else { return [] }
    var seen: Set<[String]> = []
    return runs.filter { seen.insert(model(of: $0)).inserted }
  }

  /// A run's place on the axes along which the cost of a step changes.
  func model(of run: Run) -> [String] {
    let ignored = analysis.axesWithoutCost
    return zip(axes, run.point).filter { !ignored.contains($0.0) }.map(\.1)
  }
}

/// What is read off the results of a study.
public struct StudyAnalysis: Codable, Hashable, Sendable {
  /// What runs are judged by.
  public enum Measure: String, Codable, Sendable, CaseIterable {
    /// The loss on validation examples.
    case loss
    /// The share of validation targets that the largest logit misses.
    case error
  }

  /// The best value of one axis, and how it moves along another.
  public struct Optimum: Codable, Hashable, Sendable {
    /// The axis of positive numbers whose best value is sought.
    public var axis: String
    /// The axis of positive numbers along which it may move.
    public var across: String
    /// The axes whose values each have curves of their own.
    public var series: [String]
  }

  /// Error as a power of cost.
  public struct Scaling: Codable, Hashable, Sendable {
    /// The axis whose values each have a curve.
    public var series: String
    /// The value of it that the others are compared with.
    public var baseline: String
  }

  /// What runs are judged by.
  public var measure = Measure.loss
  /// The best value of an axis, if it is sought.
  public var optimum: Optimum?
  /// Powers of cost, if they are fitted.
  public var scaling: Scaling?
  /// The axis of repetitions, over which means are taken.
  public var repetitions: String?
  /// The axis on which every model has a best value of its own: of places that differ in nothing else, only the
  /// one of the best mean counts.
  public var best: String?

  /// The axes along which a step costs the same.
  var axesWithoutCost: [String] { [optimum?.axis, repetitions, best].compactMap { $0 } }
}
