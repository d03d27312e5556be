import Encoders
import MLX
import MLXNN
import Models
import Operators
import OrderedCollections

/// What layers that read the same inputs really get: moments of some texts, the inputs of others.
struct LayerInputs {
  /// The layers by path, in the order of the model.
  let layers: [(path: String, linear: Linear)]
  private let moments: InputMoments
  /// The inputs [B, T, K] of the texts that no fit sees.
  private var heldOut: [MLXArray] = []

  /// Runs texts through a model and watches the layers that match, in groups that are given the very
  /// same array, such as query, key and value.
  ///
  /// Tiles are those of sequences. Throws a sentence if a pattern matches no linear layer.
  static func collect(
    of model: BERTModel, layers patterns: [LayerPattern], tile: Int, calibration: TokenBatches,
    heldOut: TokenBatches, progress: (_ completed: Int, _ total: Int) throws -> Void
  ) throws -> [LayerInputs] {
    let linears = model.namedModules().compactMap { path, module in
      (module as? Linear).map { (path: path, linear: $0) }
    }
    for pattern in patterns where !linears.contains(where: { pattern.matches($0.path) }) {
      throw ConversionError(
        "[layers] expected a linear layer that '\(pattern)' matches, found none; see the layers "
          + "with `tessera inspect`.")
    }
    let chosen = linears.filter { layer in patterns.contains { $0.matches(layer.path) } }
    let groups = try groups(chosen, of: model, batch: calibration.batches.first)
    var inputs = groups.map { LayerInputs($0, tile: tile) }
    let batches = calibration.batches.map { ($0, true) } + heldOut.batches.map { ($0, false) }
    let paths = groups.flatMap { $0.map(\.path) }
    var seen: [String: (x: MLXArray, y: MLXArray)] = [:]
    try observing(model, layers: paths) { path, x, y in
      seen[path] = (x, y)
    } during: {
      for (number, (batch, isCalibration)) in batches.enumerated() {
        _ = model.hiddenStates(tokens: batch.array)
        for index in inputs.indices {
          try inputs[index].add(seen, isCalibration: isCalibration)
        }
        seen = [:]
        try progress(number + 1, batches.count)
      }
    }
    return inputs
  }

  /// Layers in groups that read the same array, in the order of the model.
  private static func groups(
    _ layers: [(path: String, linear: Linear)], of model: BERTModel, batch: TokenBatches.Batch?
  ) throws -> [[(path: String, linear: Linear)]] {
    // The arrays are kept, for their identity is what tells them apart.
    var inputs: [String: MLXArray] = [:]
    try observing(model, layers: layers.map(\.path)) { path, x, _ in
      inputs[path] = x
    } during: {
      if let batch { _ = model.hiddenStates(tokens: batch.array) }
    }
    var groups: [[(path: String, linear: Linear)]] = []
    for layer in layers {
      let index = groups.firstIndex { group in
        group.contains { inputs[$0.path] != nil && inputs[$0.path] === inputs[layer.path] }
      }
      if let index { groups[index].append(layer) } else { groups.append([layer]) }
    }
    return groups
  }

  private init(_ layers: [(path: String, linear: Linear)], tile: Int) {
    self.layers = layers
    let outputs = layers.reduce(0) { $0 + $1.linear.outputDimensions }
    moments = InputMoments(
      for: StrassenTile(
        inputs: layers.first?.linear.inputDimensions ?? 1, outputs: outputs,
        encoder: .classical(tile: tile)))
  }

  private mutating func add(
    _ seen: [String: (x: MLXArray, y: MLXArray)], isCalibration: Bool
  ) throws {
    let outputs = layers.compactMap { seen[$0.path]?.y }
    guard let x = layers.first.flatMap({ seen[$0.path]?.x }), outputs.count == layers.count
    else { return }
    if isCalibration {
      try moments.add(x, concatenated(outputs, axis: -1))
    } else {
      try eval(x)
      heldOut.append(x)
    }
  }

  /// The centred moments, with the layer's own weight.
  func target(_ index: Int) throws -> FitTarget {
    var target = try moments.target(weight: concatenated(layers.map(\.linear.weight), axis: 0))
    target.weight = layers[index].linear.weight.asType(.float32)
    return target
  }

  /// The centred moment of the tiles, nothing mixed in: the fits of encoders do that.
  func tileMoment() throws -> TileMoment {
    guard let sampled = try moments.sampledTiles() else {
      throw ConversionError("[layers] expected tiles of inputs, got none.")
    }
    return sampled
  }

  /// The bias [N] that gives a layer's fitted product the mean that its outputs have.
  func bias(
    _ index: Int, _ structure: any LinearOperator, _ parameters: Parameters
  ) throws -> MLXArray {
    let first = layers[..<index].reduce(0) { $0 + $1.linear.outputDimensions }
    let bias = try moments.bias(
      of: structure, parameters,
      outputs: first..<first + layers[index].linear.outputDimensions)
    try eval(Array(parameters.values) + [bias])
    return bias
  }

  /// ‖ŷ − y‖ / ‖y‖ of a layer on the held-out inputs, with the bias that suits the fitted product.
  func heldOutError(
    _ index: Int, _ structure: any LinearOperator, _ parameters: Parameters
  ) throws -> Double {
    let linear = layers[index].linear
    let bias = try bias(index, structure, parameters)
    var (difference, size) = (0.0, 0.0)
    for x in heldOut {
      let y = linear(x)
      let missed = sum(square(structure.apply(x, parameters) + bias - y))
      let whole = sum(square(y))
      try eval(missed, whole)
      difference += try missed.item(Double.self)
      size += try whole.item(Double.self)
    }
    return difference == 0 ? 0 : (difference / size).squareRoot()
  }
}
