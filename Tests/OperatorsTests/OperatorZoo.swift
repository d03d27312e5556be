import MLX
import Operators
import OrderedCollections
import Testing

/// An operator of the zoo: a spec and the sizes it is tested at.
struct Specimen: Sendable, CustomTestStringConvertible {
  var spec: String
  var inputs: Int
  var outputs: Int

  init(_ spec: String, _ inputs: Int, _ outputs: Int) {
    (self.spec, self.inputs, self.outputs) = (spec, inputs, outputs)
  }

  var testDescription: String { "\(spec) [\(outputs), \(inputs)]" }

  func make() throws -> any LinearOperator {
    try OperatorSpec(parsing: spec).makeOperator(inputs: inputs, outputs: outputs)
  }

  /// Every structure, square and rectangular, with sizes that divide and sizes that need padding.
  static let zoo: [Specimen] = [
    Specimen("dense", 12, 8), Specimen("dense", 1, 1),
    Specimen("lowrank:rank=3", 13, 7), Specimen("lowrank:rank=1", 4, 9),
    Specimen("kronecker", 12, 8), Specimen("kronecker", 11, 7),
    Specimen("kronecker:in=3x4,out=4x2", 12, 8),
    Specimen("tt:rank=2", 12, 8), Specimen("tt:rank=3", 13, 17),
    Specimen("monarch:blocks=4", 16, 16), Specimen("monarch:blocks=3", 13, 22),
    Specimen("monarch:blocks=2", 24, 10), Specimen("monarch:blocks=1", 5, 3),
    Specimen("btt:rank=1", 16, 16), Specimen("btt:rank=2", 13, 22),
    Specimen("btt:rank=2,in=4x3,out=2x5", 12, 10),
    Specimen("btt:rank=2,in=4x3,out=3x4,norm=true", 12, 11),
    Specimen("ks:2x3x4x2", 16, 12), Specimen("ks:3x2x4x1+1x5x2x3", 12, 15),
    Specimen("ks:3x2x4x1+1x5x2x3", 11, 13),
    Specimen("ks:1x2x2x4+2x2x2x2+4x2x2x1", 8, 8), Specimen("ks:1x4x6x1+1x5x2x2", 5, 10),
    Specimen("2:4", 8, 6), Specimen("2:4", 11, 5),
  ]
}

/// The trained parameters: those that are not indices.
func trained(_ parameters: Parameters) -> [String] {
  parameters.filter { $0.value.dtype.isFloatingPoint }.map(\.key)
}

/// Random parameters, of order one and none of them at its initial value.
func randomParameters(of operation: any LinearOperator, seed: UInt64) -> Parameters {
  let keys = MLXRandom.split(key: MLXRandom.key(seed), into: 8)
  var parameters = operation.initialize(key: keys[7])
  for (name, key) in zip(trained(parameters), keys) {
    guard let start = parameters[name] else { continue }
    parameters[name] = start + 0.3 * MLXRandom.normal(start.shape, key: key)
  }
  return parameters
}
