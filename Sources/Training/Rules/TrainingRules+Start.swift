import Layers
import MLX
import MLXNN
import Models
import Operators
import OrderedCollections

extension TrainingRules {
  /// Gives a new model its first weights: random ones by the chosen rule, then zeros in the last
  /// layers.
  ///
  /// The structured layers have their random weights already.
  ///
  /// Throws what went wrong while computing.
  func initialize(_ model: any CheckpointModel, key: MLXArray) throws {
    let (familyKey, denseKey) = MLXRandom.split(key: key)
    try model.initialize(key: familyKey)
    if initialization == .structured {
      let layers = model.namedModules().compactMap { path, module in
        (module as? Linear).map { (path, $0) }
      }
      var values = ModuleParameters()
      for ((path, layer), key) in zip(
        layers, MLXRandom.split(key: denseKey, into: max(2, layers.count)))
      {
        let dense = Dense(inputs: layer.inputDimensions, outputs: layer.outputDimensions)
        values["\(path).weight"] = dense.initialize(key: key)["weight"]
      }
      try model.update(parameters: values, verify: .noUnusedKeys)
    }
    if zeroesLastLayers { try zeroLastLayers(model) }
    try eval(Array(model.parameters().values))
  }

  /// Zeros in the last core of each ``/Models/CheckpointModel`` layer that ends a residual branch,
  /// and in the output layer, so that every branch is silent at first.
  ///
  /// Of a Strassen-Tile layer it is the weight: with a decoder of zeros the weight would have no
  /// gradient, and the decoder is the slower of the two.
  private func zeroLastLayers(_ model: any CheckpointModel) throws {
    var values = ModuleParameters()
    for (path, module) in model.namedModules() where model.isLast(path) {
      if let layer = module as? Linear {
        values["\(path).weight"] = .zeros(like: layer.weight)
      } else if let layer = module as? StructuredLinear {
        let structure = layer.structure
        let name = (structure as? any CoreProduct)?.cores.last?.name ?? "weight"
        guard let array = layer.values[name] else { continue }
        values["\(path).\(layer.parameterPrefix).\(name)"] = .zeros(like: array)
      }
    }
    try model.update(parameters: values, verify: .noUnusedKeys)
  }
}

extension CheckpointModel {
  /// Whether the linear layer at a path is the last of a residual branch, or the output layer.
  func isLast(_ path: String) -> Bool {
    switch self {
    case let model as MLPModel: path == "layers.\(model.layers.count - 1)"
    case is GPT2Model: path.hasSuffix(".c_proj") || path == "lm_head"
    case is LlamaModel:
      path.hasSuffix(".o_proj") || path.hasSuffix(".down_proj") || path == "lm_head"
    case is ViTModel: path.hasSuffix(".output.dense") || path == "classifier"
    case is T2TViTModel:
      path.hasSuffix(".proj") || path.hasSuffix(".mlp.fc2") || path.hasSuffix(".mlp.2")
        || path == "head"
    default: false
    }
  }
}

extension StructuredLinear {
  /// What precedes the names of the structure's parameters in paths: the first part of their keys.
  var parameterPrefix: String {
    parameters().keys.first { $0 != "bias" }.map { String($0.prefix { $0 != "." }) } ?? ""
  }
}
