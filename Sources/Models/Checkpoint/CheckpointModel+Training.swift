import Layers
import MLX
import MLXNN
import Operators
import OrderedCollections

extension CheckpointModel {
  /// Gives all dense weights and tables random values, for training from scratch: normal with the
  /// standard deviation that the family asks for; biases zero, norms the identity.
  ///
  /// Structured layers keep what they have, which ``replaceLayers(_:key:insisting:)`` made by their
  /// own rules.
  ///
  /// Throws what went wrong while computing.
  public func initialize(key: MLXArray) throws {
    let modules = namedModules()
    let keys = MLXRandom.split(key: key, into: modules.count + 1)
    var values = initialValues(key: keys[modules.count])
    func normal(_ path: String, _ shape: [Int], _ key: MLXArray) -> MLXArray {
      MLXRandom.normal(
        shape, scale: Float(initialDeviation(of: path, inputs: shape.last ?? 1)), key: key)
    }
    for ((path, module), key) in zip(modules, keys) {
      let prefix = path.isEmpty ? "" : path + "."
      switch module {
      case let layer as Linear:
        values[prefix + "weight"] = normal(path, layer.weight.shape, key)
        if let bias = layer.bias { values[prefix + "bias"] = .zeros(like: bias) }
      case let table as Embedding:
        values[prefix + "weight"] = normal(path, table.weight.shape, key)
      case let norm as LayerNorm:
        if let weight = norm.weight { values[prefix + "weight"] = .ones(like: weight) }
        if let bias = norm.bias { values[prefix + "bias"] = .zeros(like: bias) }
      case let norm as RMSNorm: values[prefix + "weight"] = .ones(like: norm.weight)
      default: break
      }
    }
    try update(parameters: values, verify: .noUnusedKeys)
    try eval(Array(values.values))
  }

  /// 0.02.
  public func initialDeviation(of path: String, inputs: Int) -> Double { 0.02 }
  /// None.
  public func initialValues(key: MLXArray) -> ModuleParameters { [:] }

  /// Puts structured layers with random parameters in the places of dense ones, for training from
  /// scratch.
  ///
  /// Throws, before anything has changed, if there is no dense layer at a path, a structure does
  /// not fit it, or a Strassen-Tile layer would let outputs of a causal model see later tokens
  /// (unless `insisting`).
  public func replaceLayers(
    _ specs: some Sequence<(key: String, value: OperatorSpec)>, key: MLXArray,
    insisting: Bool = false
  ) throws {
    let modules = namedModules()
    var key = key
    var layers: [(key: String, value: Module)] = []
    for (path, spec) in specs {
      guard let dense = modules[path] as? Linear else {
        throw LayerError(
          "[replace] expected the path of a dense layer, got \"\(path)\"; see the layers with "
            + "`tessera inspect`.")
      }
      let structure = try spec.makeOperator(
        inputs: dense.inputDimensions, outputs: dense.outputDimensions)
      try (structure as? StrassenTile)?.validate(for: Self.tokenFlow, insisting: insisting)
      let (next, now) = MLXRandom.split(key: key)
      key = next
      layers.append(
        (
          path,
          try StructuredLinear(
            structure, parameters: structure.initialize(key: now),
            bias: dense.bias.map { .zeros(like: $0) })
        ))
    }
    try update(modules: layers)
    try shareEncoders()
  }
}
