import MLX
import MLXNN
import OrderedCollections
/// A layer that shows its inputs and outputs to an observer and changes nothing.
private final class ObservedLayer: Module, UnaryLayer {
  private let _layer: any UnaryLayer
  private let observe: (_ x: MLXArray, _ y: MLXArray) -> Void

  init(_ layer: any UnaryLayer, _ observe: @escaping (MLXArray, MLXArray) -> Void) {
    _layer = layer
    self.observe = observe
    super.init()
  }

  func callAsFunction(_ x: MLXArray) -> MLXArray {
    let y = _layer(x)
    observe(x, y)
    return y
  }
}

/// Runs the body while the layers at the given paths show each input and output they have.
///
/// Nothing is computed for it: what the observer does not evaluate, directly or through what it
/// builds, is never run. Throws what the body throws; the model is then as it was.
func observing<Result>(
  _ model: Module, layers paths: [String],
  _ observer: @escaping (_ path: String, _ x: MLXArray, _ y: MLXArray) -> Void,
  during body: () throws -> Result
) throws -> Result {
  let originals = try unaryLayers(of: model, at: paths)
  try model.update(
    modules: originals.map { path, layer in
      (key: path, value: ObservedLayer(layer) { observer(path, $0, $1) })
    })
  defer {
    // Putting back what was there cannot fail: the same places just held other layers.
    try? model.update(modules: originals.map { (key: $0.path, value: $0.layer as Module) })
  }
  return try body()
}

/// The layers at the given paths.
func unaryLayers(
  of model: Module, at paths: [String]
) throws -> [(path: String, layer: any UnaryLayer)] {
  let modules = model.namedModules()
  return try paths.map { path in
    guard let layer = modules[path] as? any UnaryLayer else {
      throw ConversionError("[layers] expected a layer at \(path), found none.")
    }
    return (path, layer)
  }
}
