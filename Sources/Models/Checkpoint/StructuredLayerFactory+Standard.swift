import Layers
import MLX
import Operators

extension StructuredLayerFactory {
  /// Every structure that Tessera has.
  public static let standard = StructuredLayerFactory(
    make: { request in
      let structure = try OperatorSpec(parsing: request.spec).makeOperator(
        inputs: request.inputDimensions, outputs: request.outputDimensions)
      // Never evaluated: the checkpoint's values take their place.
      return try StructuredLinear(
        structure, parameters: structure.initialize(key: MLXRandom.key(0)),
        bias: request.hasBias ? .zeros([request.outputDimensions]) : nil)
    },
    spec: { ($0 as? StructuredLinear).map { "\($0.structure.spec)" } })
}
