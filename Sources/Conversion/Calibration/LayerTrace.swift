import Layers
import MLX
import MLXNN
import Models
import OrderedCollections

/// The linear layers of a model in the order in which they run, and which of them read one array.
///
/// It is seen on a pass that is built and never computed, so nothing has to be known of a family's
/// paths.
struct LayerTrace {
  /// A layer's first call.
  struct Call {
    /// The stage it runs in.
    let stage: Int
    /// The number of the array it reads: layers such as query, key and value read one.
    let group: Int
    /// The shape of what it reads.
    let inputShape: [Int]
  }

  /// The calls by path, in order; a layer that is never used has none.
  private(set) var calls: OrderedDictionary<String, Call> = [:]

  /// Traces a pass over inputs, by default the model's placeholder.
  init(of model: any StagedModel, inputs: MLXArray? = nil) throws {
    let paths = model.namedModules().filter { $0.value is Linear || $0.value is StructuredLinear }
    var stage = 0
    // Kept, for their identity is what tells arrays apart.
    var arrays: [MLXArray] = []
    var calls: OrderedDictionary<String, Call> = [:]
    try observing(model, layers: Array(paths.keys)) { path, x, _ in
      guard calls[path] == nil else { return }
      if arrays.last !== x { arrays.append(x) }
      calls[path] = Call(stage: stage, group: arrays.count, inputShape: x.shape)
    } during: {
      var x = inputs ?? model.placeholder
      for number in 0..<model.stageCount {
        stage = number
        x = model.advanced(x, through: number)
      }
    }
    self.calls = calls
  }

  /// The stage that a layer runs in.
  func stage(of path: String) -> Int? { calls[path]?.stage }
}
