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
/// The hidden states in front of a stage are kept for all batches, so that every stage of either
/// model runs once for the moments of each of its groups and once to go on: 2·T·D numbers for T
/// tokens in memory.
final class LayerFitter {
  let original: any StagedModel
  let converted: any StagedModel
  private let trace: LayerTrace
  /// What each batch's hidden states are in front of the stage `reached`.
  private var states: [(original: MLXArray, converted: MLXArray)]
  private var reached = 0
  /// Whether a layer has been replaced: until then both models give the same.
  private var isChanged: Bool

  init(
    original: any StagedModel, converted: any StagedModel, batches: [ExampleBatch]
  ) throws {
    self.original = original
    self.converted = converted
    trace = try LayerTrace(of: original)
    isChanged = converted.modules().contains { $0 is StructuredLinear }
    states = try batches.map {
      let inputs = try $0.inputs()
      return (inputs, inputs)
    }
  }

  /// Runs both models up to a stage.
  private func advance(to stage: Int) throws {
    while reached < stage {
      for index in states.indices {
        let state = original.advanced(states[index].original, through: reached)
        states[index] = (
          state,
          isChanged ? converted.advanced(states[index].converted, through: reached) : state
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
      moments[layer.path] = InputMoments(
        for: layer.structure, hasBias: dense[layer.path]?.bias != nil)
    }
    var inputs: [String: MLXArray] = [:]
    var outputs: [String: MLXArray] = [:]
    try observing(original, layers: paths) { path, _, y in
      outputs[path] = y
    } during: {
      try observing(converted, layers: paths) { path, x, _ in
        inputs[path] = x
      } during: {
        guard let stage = paths.first.flatMap(trace.stage(of:)) else { return }
        try advance(to: stage)
        for state in states {
          // Only what leads to these layers is ever computed.
          _ = original.advanced(state.original, through: stage)
          _ = converted.advanced(state.converted, through: stage)
          for path in paths {
            if let x = inputs[path], let y = outputs[path] { try moments[path]?.add(x, y) }
          }
          try progress()
        }
      }
    }
    for layer in layers {
      guard let linear = dense[layer.path], let moments = moments[layer.path] else { continue }
      let fitted = try fitted(layer.structure, linear, moments)
      try converted.update(modules: [(key: layer.path, value: fitted)])
      isChanged = true
      try progress()
    }
  }

  private func fitted(
    _ structure: any LinearOperator, _ linear: Linear, _ moments: InputMoments
  ) throws -> Module {
    // Where no input ever comes, as in an unused pooler, all that is known is the weight.
    let target =
      moments.isEmpty
      ? FitTarget(weight: linear.weight) : try moments.target(weight: linear.weight)
    let parameters = try structure.fit(target)
    // A layer without a bias has none afterwards: readers of the checkpoint would not look for it.
    let bias =
      moments.isEmpty
      ? linear.bias : try linear.bias.map { _ in try moments.bias(of: structure, parameters) }
    try eval(Array(parameters.values) + [bias].compactMap(\.self))
    // A layer that a budget leaves dense is fitted all the same: it makes up for those before it.
    if structure is Dense, let weight = parameters["weight"] {
      return Linear(weight: weight, bias: bias)
    }
    return try StructuredLinear(structure, parameters: parameters, bias: bias)
  }
}
