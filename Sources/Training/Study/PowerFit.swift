import Foundation

/// A power law y = a · x^−α through points, by least squares of log y on log x.
struct PowerFit: Hashable, Sendable {
  /// α.
  let exponent: Double
  /// Half the 95 % confidence interval of α, infinite for two points.
  ///
  /// By Student's t on the residuals, with n − 2 degrees of freedom.
  let halfInterval: Double
  /// log a.
  let intercept: Double
  /// How many points there are.
  let count: Int

  /// The fit; `nil` for fewer than two values of x, or points that have no logarithm.
  init?(_ points: [(x: Double, y: Double)]) {
    guard points.allSatisfy({ $0.x > 0 && $0.y > 0 && $0.x.isFinite && $0.y.isFinite }) else {
      return nil
    }
    let logs = points.map { (x: log($0.x), y: log($0.y)) }
    let n = Double(logs.count)
    let meanX = logs.reduce(0) { $0 + $1.x } / n
    let meanY = logs.reduce(0) { $0 + $1.y } / n
    let spread = logs.reduce(0) { $0 + ($1.x - meanX) * ($1.x - meanX) }
    guard logs.count >= 2, spread > 0 else { return nil }
    let slope = logs.reduce(0) { $0 + ($1.x - meanX) * ($1.y - meanY) } / spread
    let residuals = logs.reduce(0) { sum, point in
      let residual = point.y - meanY - slope * (point.x - meanX)
      return sum + residual * residual
    }
    exponent = -slope
    intercept = meanY - slope * meanX
    count = logs.count
    let freedom = logs.count - 2
    halfInterval =
      freedom > 0
      ? PowerFit.quantile(freedom) * (residuals / Double(freedom) / spread).squareRoot()
      : .infinity
  }

  /// The 97.5 % quantile of Student's t.
  static func quantile(_ freedom: Int) -> Double {
    let small = [
      12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
      2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    ]
    guard freedom > small.count else { return small[max(0, freedom - 1)] }
    // The first terms of the expansion at the normal quantile (Abramowitz and Stegun, 26.7.5).
    let z = 1.959964
    let n = Double(freedom)
    return z + (z * z * z + z) / (4 * n)
      + (5 * pow(z, 5) + 16 * pow(z, 3) + 3 * z) / (96 * n * n)
  }

  /// a · x^−α.
  func value(at x: Double) -> Double { exp(intercept - exponent * log(x)) }
}

/// The least value of a curve over the logarithm of a positive number.
struct CurveOptimum: Hashable, Sendable {
  /// log₂ of the best value.
  let octaves: Double
  /// Whether it is the first or the last value tried: the true optimum may lie beyond.
  let isAtEdge: Bool

  /// The vertex of the parabola through the least point and its neighbours; at an edge that point.
  ///
  /// `nil` without points.
  init?(_ points: [(x: Double, y: Double)]) {
    let sorted = points.filter { $0.x > 0 && $0.y.isFinite }.sorted { $0.x < $1.x }
    guard let least = sorted.indices.min(by: { sorted[$0].y < sorted[$1].y }) else { return nil }
    let place = { (index: Int) in log2(sorted[index].x) }
    guard sorted.indices.contains(least - 1), sorted.indices.contains(least + 1) else {
      (octaves, isAtEdge) = (place(least), true)
      return
    }
    let (x0, x1, x2) = (place(least - 1), place(least), place(least + 1))
    let left = (sorted[least].y - sorted[least - 1].y) / (x1 - x0)
    let right = (sorted[least + 1].y - sorted[least].y) / (x2 - x1)
    isAtEdge = false
    // The derivative of the parabola is `left` in the middle of the first stretch and `right` in
    // that of the second; it vanishes between them, as left ≤ 0 ≤ right.
    guard right > left else {
      octaves = x1
      return
    }
    octaves = (x0 + x1) / 2 - left * ((x2 - x0) / 2) / (right - left)
  }
}

/// y at an x between points, along straight lines between logarithms; `nil` outside of them.
func interpolated(_ points: [(x: Double, y: Double)], at x: Double) -> Double? {
  let sorted = points.sorted { $0.x < $1.x }
  guard let first = sorted.first, let last = sorted.last, x >= first.x, x <= last.x else {
    return nil
  }
  for (low, high) in zip(sorted, sorted.dropFirst()) where x <= high.x {
    guard high.x > low.x else { return min(low.y, high.y) }
    let share = (log(x) - log(low.x)) / (log(high.x) - log(low.x))
    return exp(log(low.y) + share * (log(high.y) - log(low.y)))
  }
  return last.y
}
