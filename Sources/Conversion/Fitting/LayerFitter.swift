import Layers
import MLX
import MLXNN
import Models
import Operators
import OrderedCollections

/// Fits structured layers to dense ones on the inputs that they will really get.
///
/// Groups of layers are fitted from the first to the last. The inputs of a group are those of the
/// model as converted so far; its targets are the outputs of the original model. So each fit makes
/// up, as far as it can, for what the layers before it lost.
///
/// The hidden states in front of the block are kept for all batches, so that every block of either
/// model runs once for the moments of each of its groups and once to go on: 2·T·D numbers for T
/// tokens in memory.
final class LayerFitter {
  let original: BERTModel
  let converted: BERTModel
  /// What each batch's hidden states are in front of the layer `reached`.
  private var states: [(original: MLXArray, converted: MLXArray)]
  private var reached = 0

  init(original: BERTModel, converted: BERTModel, batches: [TokenBatches.Batch]) {
    self.original = original
    self.converted = converted
    states = batches.map { batch in
      let embedded = original.embedded(batch.array)
      return (embedded, embedded)
    }
  }

  /// Runs both models up to a layer.
  private func advance(to layer: Int) throws {
    while reached < layer {
      for index in states.indices {
        states[index] = (
          original.advanced(states[index].original, through: reached),
          converted.advanced(states[index].converted, through: reached)
        )
        try eval(states[index].original, states[index].converted)
      }
      reached += 1
    }
  }

  /// Fits the layers of one group and puts them into the converted model.
  ///
  /// Groups have to come in the order of the model.
  func fit(_ layers: [ConversionPlan.Layer], progress: () throws -> Void) throws {
    let paths = layers.map(\.path)
    let dense = Dictionary(
      uniqueKeysWithValues: try unaryLayers(of: converted, at: paths).compactMap { path, layer in
        (layer as? Linear).map { (path, $0) }
      })
    var moments: [String: InputMoments] = [:]
    for layer in layers {
      moments[layer.path] = InputMoments(for: layer.structure)
    }
    var inputs: [String: MLXArray] = [:]
    var outputs: [String: MLXArray] = [:]
    try observing(original, layers: paths) { path, _, y in
      outputs[path] = y
    } during: {
      try observing(converted, layers: paths) { path, x, _ in
        inputs[path] = x
      } during: {
        guard let block = paths.first.flatMap(original.layer(of:)) else { return }
        try advance(to: block)
        for state in states {
          // Only what leads to these layers is ever computed.
          _ = original.advanced(state.original, through: block)
          _ = converted.advanced(state.converted, through: block)
          for path in paths {
            if let x = inputs[path], let y = outputs[path] { try moments[path]?.add(x, y) }
          }
          try progress()
        }
      }
    }
    for layer in layers {
      guard let linear = dense[layer.path], let moments = moments[layer.path] else { continue }
      // Where no input ever comes, as in an unused pooler, all that is known is the weight.
      let target =
        moments.isEmpty
        ? FitTarget(weight: linear.weight) : try moments.target(weight: linear.weight)
      let parameters = try layer.structure.fit(target)
      let bias = moments.isEmpty ? linear.bias : try moments.bias(of: layer.structure, parameters)
      try eval(Array(parameters.values) + [bias].compactMap(\.self))
      // A layer that a budget leaves dense is fitted all the same: it makes up for those before it.
      let fitted: any Module & UnaryLayer =
        if layer.structure is Dense, let weight = parameters["weight"] {
          Linear(weight: weight, bias: bias)
        } else {
          try StructuredLinear(layer.structure, parameters: parameters, bias: bias)
        }
      try converted.update(modules: [(key: layer.path, value: fitted as Module)])
      try progress()
    }
  }
}
