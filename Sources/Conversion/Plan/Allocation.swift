/// One choice for one item of an allocation.
struct AllocationOption: Hashable {
  /// What it takes from the budget.
  var cost: Double
  /// What it does harm.
  var damage: Double
}

/// Chooses one option for each item so that the costs stay within a budget and the damages sum to
/// little: the places of the options, or `nil` where even the cheapest cost too much.
///
/// On the lower convex hulls of the items the steps with the most damage saved for their cost come
/// first. That solves the relaxed problem, where one item may lie between two options (Sinha and
/// Zoltners, "The multiple-choice knapsack problem", 1979); so the sum is at most one such step above
/// the optimum. A step that no longer fits is passed over, and later ones may still fit.
func allocate(_ items: [[AllocationOption]], budget: Double) -> [Int]? {
  let hulls = items.map(lowerHull)
  guard hulls.allSatisfy({ !$0.isEmpty }) else { return nil }
  var chosen = hulls.map { $0[0] }
  var left = budget
  for (options, place) in zip(items, chosen) { left -= options[place].cost }
  guard left >= 0 else { return nil }

  var steps: [(item: Int, to: Int, cost: Double, gain: Double)] = []
  for (item, hull) in hulls.enumerated() {
    for (from, to) in zip(hull, hull.dropFirst()) {
      let cost = items[item][to].cost - items[item][from].cost
      steps.append((item, to, cost, (items[item][from].damage - items[item][to].damage) / cost))
    }
  }
  // A hull is convex, so the steps of one item stay in their order.
  steps.sort { $0.gain > $1.gain }
  var blocked = Set<Int>()
  for step in steps where !blocked.contains(step.item) {
    if step.cost <= left {
      chosen[step.item] = step.to
      left -= step.cost
    } else {
      blocked.insert(step.item)
    }
  }
  return chosen
}

/// The places of the options on the lower convex hull of damage over cost, cheapest first.
private func lowerHull(_ options: [AllocationOption]) -> [Int] {
  let order = options.indices.sorted {
    (options[$0].cost, options[$0].damage) < (options[$1].cost, options[$1].damage)
  }
  func slope(_ a: Int, _ b: Int) -> Double {
    (options[b].damage - options[a].damage) / (options[b].cost - options[a].cost)
  }
  var hull: [Int] = []
  for place in order {
    // Written so that a damage that is no number is never chosen.
    if let last = hull.last, !(options[place].damage < options[last].damage) { continue }
    guard options[place].damage.isFinite else { continue }
    while hull.count > 1,
      slope(hull[hull.count - 2], hull[hull.count - 1])
        >= slope(hull[hull.count - 1], place)
    {
      hull.removeLast()
    }
    hull.append(place)
  }
  return hull
}
