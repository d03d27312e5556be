import Encoders
import MLX
import MLXNN
import Models
import Operators
import OrderedCollections

/// What layers that read the same inputs really get: moments of some examples, the inputs of others.
struct LayerInputs {
  /// A layer of a model.
  typealias Layer = (path: String, linear: Linear)

  /// The layers by path, in the order in which they run.
  let layers: [Layer]
  /// Which rows form a tile.
  let rows: RowPolicy
  private let moments: InputMoments
  /// The inputs [B, T, K], or [B, K], of the examples that no fit sees.
  private var heldOut: [MLXArray] = []

  /// Runs examples through a model and watches the layers that match, in groups that are given the
  /// very same array, such as query, key and value.
  ///
  /// Tiles are those of sequences, of causal models across the batch. The inputs of held-out examples
  /// are kept, K numbers a row and group. Throws a sentence if a pattern matches no linear layer that
  /// runs.
  static func collect(
    of model: any StagedModel, layers patterns: [LayerPattern], tile: Int,
    calibration: [ExampleBatch], heldOut: [ExampleBatch],
    progress: (_ completed: Int, _ total: Int) throws -> Void
  ) throws -> [LayerInputs] {
    let groups = try groups(of: model, patterns)
    let rows: RowPolicy = type(of: model).tokenFlow == .causal ? .batch : .sequence
    var inputs = groups.map { LayerInputs($0, tile: tile, rows: rows) }
    let batches = calibration.map { ($0, true) } + heldOut.map { ($0, false) }
    let paths = groups.flatMap { $0.map(\.path) }
    var seen: [String: (x: MLXArray, y: MLXArray)] = [:]
    try observing(model, layers: paths) { path, x, y in
      seen[path] = (x, y)
    } during: {
      for (number, (batch, isCalibration)) in batches.enumerated() {
        // Only what leads to these layers is ever computed.
        _ = model.run(try batch.inputs())
        for index in inputs.indices {
          try inputs[index].add(seen, isCalibration: isCalibration)
        }
        seen = [:]
        try progress(number + 1, batches.count)
      }
    }
    return inputs
  }

  /// The layers that match, in groups that read the same array; those of a group all have a bias, or
  /// none has.
  private static func groups(
    of model: any StagedModel, _ patterns: [LayerPattern]
  ) throws -> [[Layer]] {
    let modules = model.namedModules()
    let layers = try LayerTrace(of: model).calls.compactMap { path, call in
      (modules[path] as? Linear).map { (path: path, linear: $0, group: call.group) }
    }
    for pattern in patterns where !layers.contains(where: { pattern.matches($0.path) }) {
      throw ConversionError(
        "[layers] expected a linear layer that '\(pattern)' matches, found none; see the layers "
          + "with `tessera inspect`.")
    }
    struct Kind: Hashable {
      let group: Int
      let hasBias: Bool
    }
    var groups: OrderedDictionary<Kind, [Layer]> = [:]
    for (path, linear, group) in layers where patterns.contains(where: { $0.matches(path) }) {
      groups[Kind(group: group, hasBias: linear.bias != nil), default: []].append((path, linear))
    }
    return Array(groups.values)
  }

  private init(_ layers: [Layer], tile: Int, rows: RowPolicy) {
    self.layers = layers
    self.rows = rows
    let outputs = layers.reduce(0) { $0 + $1.linear.outputDimensions }
    moments = InputMoments(
      for: StrassenTile(
        inputs: layers.first?.linear.inputDimensions ?? 1, outputs: outputs,
        encoder: .classical(tile: tile), rows: rows),
      hasBias: layers.first?.linear.bias != nil)
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

  /// The moments, centred where the layer has a bias, with the layer's own weight.
  func target(_ index: Int) throws -> FitTarget {
    var target = try moments.target(weight: concatenated(layers.map(\.linear.weight), axis: 0))
    target.weight = layers[index].linear.weight.asType(.float32)
    return target
  }

  /// The moment of the tiles, nothing mixed in: the fits of encoders do that.
  func tileMoment() throws -> TileMoment {
    guard let sampled = try moments.sampledTiles() else {
      throw ConversionError("[layers] expected tiles of inputs, got none.")
    }
    return sampled
  }

  /// The bias [N] that gives a layer's fitted product the mean that its outputs have; `nil` where the
  /// layer has none.
  func bias(
    _ index: Int, _ structure: any LinearOperator, _ parameters: Parameters
  ) throws -> MLXArray? {
    guard layers[index].linear.bias != nil else { return nil }
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
      let product = structure.apply(x, parameters)
      let missed = sum(square((bias.map { product + $0 } ?? product) - y))
      let whole = sum(square(y))
      try eval(missed, whole)
      difference += try missed.item(Double.self)
      size += try whole.item(Double.self)
    }
    return difference == 0 ? 0 : (difference / size).squareRoot()
  }
}
