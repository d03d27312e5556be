import Kernels
import MLX
import MLXNN
import Operators
import OrderedCollections

/// The outputs of layers that read the same input x [..., K], each with its activation.
///
/// Strassen-Tile layers with one encoder, such as query, key and value, encode x once: K·R of the
/// multiply-adds and a pass over x are saved for each after the first. They have one encoder where
/// `Module.shareEncoders()` made it so and nothing has changed it since.
public func outputs(
  of layers: [(layer: any UnaryLayer, activation: KernelActivation)], reading x: MLXArray
) -> [MLXArray] {
  let shared = sharedEncodings(of: layers.map(\.layer), reading: x)
  let rows = shared.map { $0[0].structure.encodedRows(x, $0[0].encoder) }
  return layers.indices.map { index in
    let (layer, activation) = layers[index]
    for (members, rows) in zip(shared, rows) {
      guard let member = members.first(where: { $0.index == index }) else { continue }
      return member.structure.product(
        rows, member.layer.parametersByName, bias: member.layer.bias, activation: activation)
    }
    return (layer as? StructuredLinear)?(x, activation: activation) ?? activation(layer(x))
  }
}

/// The outputs of layers that read the same input x [..., K].
public func outputs(of layers: [any UnaryLayer], reading x: MLXArray) -> [MLXArray] {
  outputs(of: layers.map { ($0, .none) }, reading: x)
}

/// A layer among several that may share the encoding of their input.
struct TileLayer {
  let index: Int
  let layer: StructuredLinear
  let structure: StrassenTile
  let encoder: MLXArray

  init?(_ index: Int, _ layer: any UnaryLayer, reading x: MLXArray) {
    guard let layer = layer as? StructuredLinear, let structure = layer.structure as? StrassenTile,
      let encoder = layer.values[StrassenTile.encoderParameter], x.failure == nil,
      structure.sharesEncoding(shape: x.shape, dtype: x.dtype)
    else { return nil }
    (self.index, self.layer, self.structure, self.encoder) = (index, layer, structure, encoder)
  }

  func encodes(like other: TileLayer) -> Bool {
    structure.inputs == other.structure.inputs && structure.rows == other.structure.rows
      && encoder.isIdentical(to: other.encoder)
  }
}

/// The layers, two or more a group, that one encoding of x serves.
func sharedEncodings(of layers: [any UnaryLayer], reading x: MLXArray) -> [[TileLayer]] {
  var groups: [[TileLayer]] = []
  for (index, layer) in layers.enumerated() {
    guard let layer = TileLayer(index, layer, reading: x) else { continue }
    if let group = groups.firstIndex(where: { $0[0].encodes(like: layer) }) {
      groups[group].append(layer)
    } else {
      groups.append([layer])
    }
  }
  return groups.filter { $0.count > 1 }
}

extension Module {
  /// Makes equal encoders of Strassen-Tile layers one array, so that layers which read the same
  /// input encode it once.
  ///
  /// Each layer keeps a parameter of its own: what trains encoders apart ends the sharing, and
  /// changes no result. Parameters under `compile` that are listed as its inputs are not shared.
  ///
  /// Throws what went wrong while computing.
  public func shareEncoders() throws {
    let encoders = namedModules().values.compactMap { module -> MLXArray? in
      guard let layer = module as? StructuredLinear, layer.structure is StrassenTile else {
        return nil
      }
      return layer.values[StrassenTile.encoderParameter]
    }
    try eval(encoders)
    struct Table: Hashable {
      let dtype: DType
      let shape: [Int]
      let entries: [Float]
    }
    var known: [Table: MLXArray] = [:]
    for encoder in encoders {
      let table = Table(
        dtype: encoder.dtype, shape: encoder.shape,
        entries: try encoder.asType(.float32).asArray(Float.self))
      if let first = known[table] { encoder.update(first) } else { known[table] = encoder }
    }
  }
}
