import MLX
import Operators
import OrderedCollections
import Testing

@testable import Layers

/// A structured layer of every kind: its spec, its name in checkpoints, and sizes of which some
/// need padding.
struct Specimen: Sendable, CustomTestStringConvertible {
  var spec: String
  var name: String
  var inputs: Int
  var outputs: Int

  init(_ spec: String, _ name: String, _ inputs: Int, _ outputs: Int) {
    (self.spec, self.name, self.inputs, self.outputs) = (spec, name, inputs, outputs)
  }

  var testDescription: String { "\(spec) [\(outputs), \(inputs)]" }

  static let zoo = [
    Specimen("dense", "dense", 12, 8), Specimen("lowrank:rank=3", "lowrank", 13, 7),
    Specimen("kronecker", "kronecker", 11, 7), Specimen("tt:rank=3", "tt", 13, 17),
    Specimen("monarch:blocks=3", "monarch", 13, 22), Specimen("btt:rank=2", "btt", 13, 22),
    Specimen("btt:rank=2,in=4x3,out=3x4,norm=true", "btt", 12, 11),
    Specimen("ks:3x2x4x1+1x5x2x3", "ks", 11, 13), Specimen("2:4", "two_four", 11, 5),
    Specimen("stl:rank=24", "stl", 10, 9), Specimen("stl:rank=49,rows=batch", "stl", 8, 6),
    Specimen("stl:rank=7,tile=2,rows=flat", "stl", 5, 4),
  ]

  /// A layer with random parameters and a random bias.
  func layer(seed: UInt64 = 0) throws -> StructuredLinear {
    let structure = try OperatorSpec(parsing: spec).makeOperator(inputs: inputs, outputs: outputs)
    let (first, second) = MLXRandom.split(key: MLXRandom.key(seed))
    return try StructuredLinear(
      structure, parameters: structure.initialize(key: first),
      bias: MLXRandom.normal([outputs], key: second))
  }

  /// Input rows [2, 5, K].
  func input(seed: UInt64 = 1) -> MLXArray {
    MLXRandom.normal([2, 5, inputs], key: MLXRandom.key(seed))
  }
}
