import Foundation
import Layers
import MLXNN
import Models
import Operators
import OrderedCollections
/// Turns a converted checkpoint back into an ordinary one.
public enum Densification {
  /// Writes the model with every structured layer as the dense layer with the same product, and
  /// returns how many there were.
  ///
  /// Throws a sentence if a structure has no dense form: a Strassen-Tile layer that is not exact
  /// mixes rows. With `approximating` such a layer becomes the dense one nearest to it for
  /// independent inputs.
  public static func run(
    folder: URL, to target: URL, approximating: Bool = false, replacingExisting: Bool = false
  ) throws -> Int {
    let checkpoint = try ModelRegistry.load(
      CheckpointFolder(url: folder), structuredLayers: .standard(insisting: true))
    try checkpoint.folder.checkTarget(target, replacingExisting: replacingExisting)
    var dense: [(key: String, value: Module)] = []
    for (path, module) in checkpoint.module.namedModules() {
      guard let layer = module as? StructuredLinear else { continue }
      if let linear = layer.densified() {
        dense.append((path, linear))
      } else if approximating, let tiles = layer.structure as? StrassenTile {
        let weight = tiles.leastSquaresDense(layer.parametersByName)
        dense.append((path, Linear(weight: weight, bias: layer.bias)))
      } else {
        throw ConversionError(
          "[densify] expected structures with a dense form, got \(layer.structure.spec) at "
            + "\(path), which mixes rows; use --approximate for the nearest dense layer.")
      }
    }
    try checkpoint.module.update(modules: dense)
    try checkpoint.write(to: target, replacingExisting: replacingExisting)
    return dense.count
  }
}
