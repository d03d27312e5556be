import Foundation
import Reports

extension TrainingResult {
  /// The run as one self-contained HTML page with curves.
  public func html(_ metrics: [TrainingMetric]) -> String {
    var page = ReportPage(title: "Training of \(model)")
    page.paragraph("Measured on \(machine.summary).")
    page.table(
      ["", "value"],
      [
        ["steps", "\(step) of \(steps)"], ["ended", ending.rawValue],
        ["parameters", "\(parameters)"],
        ["multiply-adds an example, forward", "\(Int(cost.multiplyAdds.rounded()))"],
        ["\(cost.unit) a second", decimal(perSecond, places: 0)],
        ["training loss", trainingLoss.map { decimal($0, places: 4) } ?? "–"],
        ["validation loss", validationLoss.map { decimal($0, places: 4) } ?? "–"],
        ["validation accuracy", validationAccuracy.map { decimal($0, places: 4) } ?? "–"],
      ])
    page.charts(TrainingResult.charts(metrics))
    return page.html
  }

  /// Curves over the steps; of long runs the means of equal stretches.
  static func charts(_ metrics: [TrainingMetric]) -> [Chart] {
    func curve(
      _ name: String, _ value: (TrainingMetric) -> Double?
    ) -> [(name: String, x: Double, y: Double)] {
      let points = metrics.compactMap { metric in
        value(metric).flatMap { $0.isFinite ? (Double(metric.step), $0) : nil }
      }
      let stretch = max(1, points.count / 500)
      return Swift.stride(from: 0, to: points.count, by: stretch).map { start in
        let part = points[start..<min(points.count, start + stretch)]
        let count = Double(part.count)
        return (
          name, part.reduce(0) { $0 + $1.0 } / count, part.reduce(0) { $0 + $1.1 } / count
        )
      }
    }
    var charts = [
      Chart.lines(
        "Loss",
        curve("training", \.loss) + curve("validation", \.validationLoss)
          + curve("validation, average", \.averageLoss), x: "step", y: "loss"),
      Chart.lines("Learning rate", curve("rate", \.rate), x: "step", y: "rate"),
      Chart.lines(
        "Norm of the gradients", curve("norm", \.norm.positive), x: "step", y: "norm",
        logarithmic: true),
    ]
    let accuracy =
      curve("validation", \.validationAccuracy) + curve("validation, average", \.averageAccuracy)
    if !accuracy.isEmpty {
      charts.append(Chart.lines("Accuracy", accuracy, x: "step", y: "share of targets"))
    }
    return charts
  }
}

extension Double? {
  /// The number if it can stand on a logarithmic axis.
  fileprivate var positive: Double? { flatMap { $0 > 0 ? $0 : nil } }
}
