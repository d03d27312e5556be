import Layers
import MLX
import MLXNN
import Models
import Operators
import OrderedCollections

/// Shares a budget of multiply-adds out among the layers of a sentence encoder.
///
/// Every alternative of a layer is fitted to the moments of its real inputs, which gives its
/// relative error e. What an error of this layer costs the model is measured once: with one
/// alternative in its place, the mean of 1 − cosine of the embeddings, over e², is the layer's
/// sensitivity s. Then the sum of all layers' damages s e² is made small
/// (``allocate(_:budget:)``). That damages add up is an approximation: the errors of different layers
/// point in nearly independent directions.
final class Planner {
  private let original: SentenceEncoder
  /// The model that is to be converted, still dense; afterwards it is as it was.
  private let converted: SentenceEncoder
  /// What the moments are taken from.
  private let batches: [TokenBatches.Batch]
  /// The hidden states of the texts that sensitivities are measured on, in front of a block.
  private var states: [MLXArray]
  private let reference: [MLXArray]

  init(
    original: SentenceEncoder, converted: SentenceEncoder, batches: [TokenBatches.Batch],
    probes: [TokenBatches.Batch]
  ) throws {
    (self.original, self.converted, self.batches) = (original, converted, batches)
    states = probes.map { original.model.embedded($0.array) }
    let blocks = original.model.configuration.layerCount
    reference = try states.map { try Self.embedding(original, $0, blocks: 0..<blocks) }
  }

  /// Decides the structure of every layer that shares a budget.
  ///
  /// `progress` is called after every batch and every layer.
  /// Throws where even the cheapest alternatives exceed a budget.
  func decide(_ plan: inout ConversionPlan, progress: () throws -> Void) throws {
    let open = plan.layers.filter { !$0.alternatives.isEmpty }
    let moments = try moments(of: open, progress)
    var damages: [String: [Double]] = [:]
    let blocks = original.model.configuration.layerCount
    for block in 0...blocks {
      for layer in open where (original.model.layer(of: layer.path) ?? blocks) == block {
        damages[layer.path] = try self.damages(
          of: layer, moments[layer.path], share: plan.share(of: layer), blocks: block..<blocks)
        try progress()
      }
      guard block < blocks else { break }
      for index in states.indices {
        states[index] = original.model.advanced(states[index], through: block)
      }
      try eval(states)
    }
    try plan.choose(damages)
  }

  private func moments(
    of layers: [ConversionPlan.Layer], _ progress: () throws -> Void
  ) throws -> [String: InputMoments] {
    let moments = Dictionary(
      uniqueKeysWithValues: layers.map { layer in
        // Strassen-Tile needs the moments of tiles besides.
        let richest = layer.alternatives.first { $0 is StrassenTile } ?? layer.structure
        return (layer.path, InputMoments(for: richest))
      })
    var seen: [(path: String, x: MLXArray, y: MLXArray)] = []
    try observing(original.model, layers: layers.map(\.path)) { path, x, y in
      seen.append((path, x, y))
    } during: {
      for batch in batches {
        seen = []
        _ = original.model.hiddenStates(tokens: batch.array) { $0 }
        for (path, x, y) in seen { try moments[path]?.add(x, y) }
        try progress()
      }
    }
    return moments
  }

  /// What each alternative of a layer does to the embeddings.
  private func damages(
    of layer: ConversionPlan.Layer, _ moments: InputMoments?, share: Double, blocks: Range<Int>
  ) throws -> [Double] {
    let layers = try unaryLayers(of: converted.model, at: [layer.path])
    // A layer that the texts never reach, such as an unused pooler, does no damage.
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
      bias: moments.bias(of: layer.alternatives[probe], fits[probe]))
    try converted.model.update(modules: [(key: layer.path, value: replacement as Module)])
    defer { try? converted.model.update(modules: [(key: layer.path, value: linear as Module)]) }
    var sum = 0.0
    var count = 0
    for (state, reference) in zip(states, reference) {
      let embedding = try Self.embedding(converted, state, blocks: blocks)
      let cosines = MLX.sum(embedding * reference, axis: -1)
      sum += try Double(MLX.sum(1 - cosines).item(Float.self))
      count += cosines.size
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

  /// The embeddings [B, D], of length 1, of hidden states in front of the first of some blocks.
  private static func embedding(
    _ encoder: SentenceEncoder, _ state: MLXArray, blocks: Range<Int>
  ) throws -> MLXArray {
    let last = blocks.reduce(state) { encoder.model.advanced($0, through: $1) }
    let vectors = encoder.head(last)
    let result = vectors / maximum(norm(vectors, axes: [-1], keepDims: true), 1e-12)
    try eval(result)
    return result
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
