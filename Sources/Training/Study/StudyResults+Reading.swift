import Foundation
import OrderedCollections

/// The runs at one place of a study, repetitions taken together.
struct StudyGroup: Hashable, Sendable {
  /// The labels of the axes that are left, in their order.
  var point: [String]
  /// Numbers that the model stores.
  var parameters: Int
  /// Multiply-adds of an example going forward.
  var multiplyAdds: Double
  /// Seconds of a step, alone on the device.
  var stepSeconds: Double?
  /// What the finished runs are judged by.
  var scores: [Double]
  /// How many runs there are.
  var count: Int

  /// The mean of the scores; `nil` without any.
  var mean: Double? {
    scores.isEmpty ? nil : scores.reduce(0, +) / Double(scores.count)
  }

  /// The standard deviation of the scores; `nil` for fewer than two.
  var deviation: Double? {
    guard scores.count > 1, let mean else { return nil }
    let sum = scores.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    return (sum / Double(scores.count - 1)).squareRoot()
  }
}

/// The best value of an axis at one place of another.
struct StudyOptimum: Hashable, Sendable {
  var series: String
  var across: Double
  var optimum: CurveOptimum
}

extension StudyResults {
  /// The axes without that of the repetitions.
  var groupAxes: [String] { axes.filter { $0 != analysis.repetitions } }

  /// The rows, repetitions taken together and only the best on the axis of ``StudyAnalysis/best``, in the
  /// order of the first of each.
  var groups: [StudyGroup] {
    guard let best = analysis.best else { return allGroups }
    let models = groupAxes.filter { $0 != best }
    return OrderedDictionary(grouping: allGroups) { label($0, models) }.values.compactMap { same in
      same.min { ($0.mean ?? .infinity) < ($1.mean ?? .infinity) }
    }
  }

  /// The rows, repetitions taken together, in the order of the first of each.
  private var allGroups: [StudyGroup] {
    var order: [[String]] = []
    var groups: [[String]: StudyGroup] = [:]
    for row in rows {
      let point = groupAxes.map { label(row, $0) }
      if groups[point] == nil { order.append(point) }
      var group =
        groups[point]
        ?? StudyGroup(
          point: point, parameters: row.parameters, multiplyAdds: row.multiplyAdds, scores: [],
          count: 0)
      group.count += 1
      group.stepSeconds = group.stepSeconds ?? row.stepSeconds
      if let score = score(row) { group.scores.append(score) }
      groups[point] = group
    }
    return order.compactMap { groups[$0] }
  }

  /// A group's label on an axis.
  func label(_ group: StudyGroup, _ axis: String) -> String {
    groupAxes.firstIndex(of: axis).map { group.point[$0] } ?? "-"
  }

  /// A group's labels on some axes, joined.
  func label(_ group: StudyGroup, _ axes: [String]) -> String {
    axes.map { label(group, $0) }.joined(separator: ", ")
  }

  /// The curves of scores against the axis whose best value is sought, by series and place.
  var optimumCurves: [(series: String, across: String, points: [(x: Double, y: Double)])] {
    guard let optimum = analysis.optimum else { return [] }
    var order: [[String]] = []
    var curves: [[String]: [(x: Double, y: Double)]] = [:]
    for group in groups {
      let key = [
        label(group, optimum.series), label(group, optimum.across),
      ]
      if curves[key] == nil { order.append(key) }
      var points = curves[key] ?? []
      if let x = Double(label(group, optimum.axis)), x > 0, let y = group.mean {
        points.append((x, y))
      }
      curves[key] = points
    }
    return order.map { ($0[0], $0[1], curves[$0] ?? []) }
  }

  /// The best values.
  var optima: [StudyOptimum] {
    optimumCurves.compactMap { curve in
      guard let across = Double(curve.across), let optimum = CurveOptimum(curve.points) else {
        return nil
      }
      return StudyOptimum(series: curve.series, across: across, optimum: optimum)
    }
  }

  /// How far the best value moves from the least place to the largest, in octaves, by series;
  /// `isBound` where an optimum lies at the edge of what was tried.
  var drifts: [(series: String, octaves: Double, range: Double, isBound: Bool)] {
    let all = optima
    var order: [String] = []
    for optimum in all where !order.contains(optimum.series) { order.append(optimum.series) }
    return order.compactMap { series in
      let own = all.filter { $0.series == series }.sorted { $0.across < $1.across }
      guard own.count > 1, let first = own.first, let last = own.last else { return nil }
      let places = own.map(\.optimum.octaves)
      let range = (places.max() ?? 0) - (places.min() ?? 0)
      return (
        series, last.optimum.octaves - first.optimum.octaves, range,
        own.contains { $0.optimum.isAtEdge }
      )
    }
  }

  /// The series of a scaling study in the order of the rows.
  var scalingSeries: [(name: String, groups: [StudyGroup])] {
    guard let scaling = analysis.scaling else { return [] }
    let all = groups
    var order: [String] = []
    for group in all where !order.contains(label(group, scaling.series)) {
      order.append(label(group, scaling.series))
    }
    return order.map { name in (name, all.filter { label($0, scaling.series) == name }) }
  }

  /// The baseline's score at a cost, between its runs of the next lower and higher cost.
  func rival(at cost: Double, by measure: (StudyGroup) -> Double?) -> Double? {
    guard let scaling = analysis.scaling,
      let baseline = scalingSeries.first(where: { $0.name == scaling.baseline })
    else { return nil }
    return interpolated(
      baseline.groups.compactMap { group in
        guard let x = measure(group), let y = group.mean else { return nil }
        return (x, y)
      }, at: cost)
  }
}
