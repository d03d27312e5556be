import Layers
import MLXNN
import Models
import Operators
import OrderedCollections

extension Trainer {
  /// Throws if training could teach a causal model to see later tokens: an exact Strassen-Tile layer
  /// treats tokens apart only as long as its weight is the encoding of a dense one, and training
  /// does not keep it so.
  static func checkThatNothingLearnsToLookAhead(_ model: any CheckpointModel) throws {
    guard type(of: model).tokenFlow == .causal else { return }
    for (path, module) in model.namedModules() {
      guard let tiles = (module as? StructuredLinear)?.structure as? StrassenTile,
        tiles.rows != .batch
      else { continue }
      throw TrainingError(
        "[train] expected `rows=batch` in \(tiles.spec) at \(path), since a causal model would learn "
          + "from later tokens of a tile, got rows=\(tiles.rows.rawValue); convert it again with "
          + "rows=batch.")
    }
  }
}
