import Layers
import MLX
import MLXNN
import Models
import Operators
import OrderedCollections

/// Shares a budget of multiply-adds out among the layers of a model.
///
/// Every alternative of a layer is fitted to the moments of its real inputs, which gives its
/// relative error e. What an error of this layer costs the model is measured once: with one
/// alternative in its place, the divergence of the model's results, over e², is the layer's
/// sensitivity s. Then the sum of all layers' damages s e² is made small
/// (``allocate(_:budget:)``). That damages add up is an approximation: the errors of different layers
/// point in nearly independent directions.
final class Planner {
  private let original: any ConvertibleModel
  /// The model that is to be converted, still dense; afterwards it is as it was.
  private let converted: any ConvertibleModel
  private let trace: LayerTrace
  /// What the moments are taken from.
  private let batches: [ExampleBatch]
  /// The hidden states of the examples that sensitivities are measured on, in front of a stage, and
  /// how many examples they are.
  private var states: [(state: MLXArray, count: Int)]
  private let reference: [MLXArray]

  init(
    original: any ConvertibleModel, converted: any ConvertibleModel, batches: [ExampleBatch],
    probes: [ExampleBatch]
  ) throws {
    (self.original, self.converted, self.batches) = (original, converted, batches)
    trace = try LayerTrace(of: original.model)
    states = try probes.map { (try $0.inputs(), $0.count) }
    reference = try states.map { try Self.results(original, $0.state, from: 0) }
  }

  /// Decides the structure of every layer that shares a budget.
  ///
  /// `progress` is called after every batch and every layer.
  /// Throws where even the cheapest alternatives exceed a budget.
  func decide(_ plan: inout ConversionPlan, progress: () throws -> Void) throws {
    let open = plan.layers.filter { !$0.alternatives.isEmpty }
    let moments = try moments(of: open, progress)
    var damages: [String: [Double]] = [:]
    let stages = original.model.stageCount
    for stage in 0...stages {
      for layer in open where (trace.stage(of: layer.path) ?? stages) == stage {
        damages[layer.path] = try self.damages(
          of: layer, moments[layer.path], share: plan.share(of: layer), stage: stage)
        try progress()
      }
      guard stage < stages else { break }
      for index in states.indices {
        states[index].state = original.model.advanced(states[index].state, through: stage)
      }
      try eval(states.map(\.state))
    }
    try plan.choose(damages)
  }

  private func moments(
    of layers: [ConversionPlan.Layer], _ progress: () throws -> Void
  ) throws -> [String: InputMoments] {
    let linears = original.model.namedModules()
    let moments = Dictionary(
      uniqueKeysWithValues: layers.map { layer in
        // Strassen-Tile needs the moments of tiles besides.
        let richest = layer.alternatives.first { $0 is StrassenTile } ?? layer.structure
        let hasBias = (linears[layer.path] as? Linear)?.bias != nil
        return (layer.path, InputMoments(for: richest, hasBias: hasBias))
      })
    var seen: [(path: String, x: MLXArray, y: MLXArray)] = []
    try observing(original.model, layers: layers.map(\.path)) { path, x, y in
      seen.append((path, x, y))
    } during: {
      for batch in batches {
        seen = []
        _ = original.model.run(try batch.inputs())
        for (path, x, y) in seen { try moments[path]?.add(x, y) }
        try progress()
      }
    }
    return moments
  }

  /// What each alternative of a layer does to the results.
  private func damages(
    of layer: ConversionPlan.Layer, _ moments: InputMoments?, share: Double, stage: Int
  ) throws -> [Double] {
    let layers = try unaryLayers(of: converted.model, at: [layer.path])
    // A layer that the examples never reach, such as an unused pooler, does no damage.
    guard let moments, !moments.isEmpty, let linear = layers.first?.layer as? Linear else {
      return layer.alternatives.map { _ in 0 }
    }
    let target = try moments.target(weight: linear.weight)
    let fits = try fits(of: layer.alternatives, target)
    let errors = try layer.alternatives.indices.map {
      try relativeError(of: layer.alternatives[$0], fits[$0], target)
    }
    // The alternative nearest to the budget is the likeliest choice, so the model of the damage is
    // calibrated there.
    let dense = Double(layer.structure.inputs * layer.structure.outputs)
    let candidates = layer.alternatives.indices.filter { errors[$0] > 1e-4 }
    guard
      let probe = candidates.min(by: { a, b in
        let distances = [a, b].map {
          abs(layer.alternatives[$0].cost.multiplyAdds / dense - share)
        }
        return distances[0] < distances[1]
      })
    else { return errors.map { $0 * $0 } }

    let replacement = try StructuredLinear(
      layer.alternatives[probe], parameters: fits[probe],
      bias: linear.bias.map { _ in
        try moments.bias(of: layer.alternatives[probe], fits[probe])
      })
    try converted.model.update(modules: [(key: layer.path, value: replacement as Module)])
    defer { try? converted.model.update(modules: [(key: layer.path, value: linear as Module)]) }
    var sum = 0.0
    var count = 0
    for (examples, reference) in zip(states, reference) {
      let results = try Self.results(converted, examples.state, from: stage)
      let divergence = original.divergence(of: results, from: reference)
      sum += Double(examples.count) * (try divergence.item(Double.self))
      count += examples.count
    }
    let sensitivity = max(0, sum / Double(max(1, count))) / (errors[probe] * errors[probe])
    return errors.map { sensitivity * $0 * $0 }
  }

  /// The parameters of each alternative; those of low rank all come from one decomposition.
  private func fits(
    of alternatives: [any LinearOperator], _ target: FitTarget
  ) throws -> [Parameters] {
    let largest = alternatives.compactMap { $0 as? LowRank }.max { $0.rank < $1.rank }
    let whole = try largest?.fit(target)
    return try alternatives.map { alternative in
      if let largest, let whole, let smaller = alternative as? LowRank {
        return largest.truncated(whole, to: smaller)
      }
      return try alternative.fit(target)
    }
  }

  /// The results of hidden states in front of a stage.
  private static func results(
    _ subject: any ConvertibleModel, _ state: MLXArray, from stage: Int
  ) throws -> MLXArray {
    let results = subject.results(of: subject.model.run(state, from: stage))
    try eval(results)
    return results
  }
}

extension ConversionPlan {
  /// The share of the dense multiply-adds that a layer's budget leaves on average.
  func share(of layer: Layer) -> Double {
    guard case .budget(_, let ratio) = rules[layer.rule].target else { return 1 }
    return 1 / ratio
  }

  /// Whether layers share a budget that has not been shared out.
  var isOpen: Bool { layers.contains { !$0.alternatives.isEmpty } }

  /// Chooses among the alternatives by the damage [alternatives] of each, by path.
  mutating func choose(_ damages: [String: [Double]]) throws {
    for (number, rule) in rules.enumerated() {
      guard case .budget(_, let ratio) = rule.target else { continue }
      let open = layers.indices.filter { layers[$0].rule == number }
      let options = open.map { index in
        zip(layers[index].alternatives, damages[layers[index].path] ?? []).map {
          AllocationOption(cost: $0.cost.multiplyAdds, damage: $1)
        }
      }
      let dense = open.reduce(0.0) {
        $0 + Double(layers[$1].structure.inputs * layers[$1].structure.outputs)
      }
      guard let chosen = allocate(options, budget: dense / ratio) else {
        throw ConversionError(
          "[convert] expected structures with at most \(Int(dense / ratio)) multiply-adds for "
            + "'\(rule)', got more from the cheapest alternatives; use a smaller budget ratio or "
            + "other structures.")
      }
      for (index, place) in zip(open, chosen) {
        layers[index].structure = layers[index].alternatives[place]
        layers[index].alternatives = []
      }
    }
  }
}
