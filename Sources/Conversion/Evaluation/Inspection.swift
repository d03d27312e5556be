import Layers
import MLX
import MLXNN
import Operators
import OrderedCollections
import Reports
/// What the linear layers of a model are and cost.
public struct Inspection: Codable, Sendable {
  /// One linear layer.
  public struct Layer: Codable, Sendable {
    /// The path in the checkpoint.
    public var path: String
    /// The structure.
    public var spec: String
    /// K.
    public var inputs: Int
    /// N.
    public var outputs: Int
    /// Numbers stored, without the bias.
    public var parameters: Int
    /// Multiply-adds a row.
    public var multiplyAdds: Double
  }

  /// The linear layers in the order of the model.
  public var layers: [Layer]
  /// Parameters of the whole model.
  public var modelParameters: Int

  /// Looks at a model.
  public init(_ model: Module) {
    modelParameters = model.parameters().values.reduce(0) { $0 + $1.size }
    layers = model.namedModules().compactMap { path, module in
      if let layer = module as? StructuredLinear {
        let cost = layer.structure.cost
        return Layer(
          path: path, spec: "\(layer.structure.spec)", inputs: layer.structure.inputs,
          outputs: layer.structure.outputs, parameters: cost.parameters,
          multiplyAdds: cost.multiplyAdds)
      }
      guard let linear = module as? Linear else { return nil }
      let size = linear.inputDimensions * linear.outputDimensions
      return Layer(
        path: path, spec: "dense", inputs: linear.inputDimensions,
        outputs: linear.outputDimensions, parameters: size, multiplyAdds: Double(size))
    }
  }

  /// The layers as text.
  public var table: String {
    var table = TextTable(["layer", "structure", "N × K", "parameters", "multiply-adds"])
    for layer in layers {
      table.append([
        layer.path, layer.spec, "\(layer.outputs) × \(layer.inputs)", "\(layer.parameters)",
        decimal(layer.multiplyAdds, places: 0),
      ])
    }
    let stored = layers.reduce(0) { $0 + $1.parameters }
    let share = Double(stored) / Double(max(1, modelParameters)) * 100
    return """
      \(table)
      \(layers.count) linear layers hold \(stored) of \(modelParameters) parameters \
      (\(decimal(share, places: 1)) %). Any dense one can be converted.
      """
  }
}
