import Layers
import MLX
import Operators

extension StructuredLayerFactory {
  /// Every structure that Tessera has, in models that can bear it.
  public static let standard = standard(insisting: false)

  /// Every structure that Tessera has.
  ///
  /// A Strassen-Tile layer that lets outputs of a causal model see later tokens is refused with
  /// `StrassenTileError`, unless `insisting`.
  public static func standard(insisting: Bool) -> StructuredLayerFactory {
    StructuredLayerFactory(
      make: { request in
        let structure = try OperatorSpec(parsing: request.spec).makeOperator(
          inputs: request.inputDimensions, outputs: request.outputDimensions)
        try (structure as? StrassenTile)?.validate(for: request.flow, insisting: insisting)
        // Never evaluated: the checkpoint's values take their place.
        return try StructuredLinear(
          structure, parameters: structure.initialize(key: MLXRandom.key(0)),
          bias: request.hasBias ? .zeros([request.outputDimensions]) : nil)
      },
      spec: { ($0 as? StructuredLinear).map { "\($0.structure.spec)" } })
  }
}
