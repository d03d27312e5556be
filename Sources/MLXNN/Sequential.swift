import MLX

/// Layers applied one after the other.
///
/// Parameters lie under `layers.0`, `layers.1`, …, and every layer may be replaced.
open class Sequential: Module, UnaryLayer {
  /// The layers, first one first.
  @ModuleInfo public var layers: [any UnaryLayer]

  /// The given layers in their order.
  public init(layers: [any UnaryLayer]) {
    _layers.wrappedValue = layers
  }

  /// The given layers in their order.
  public convenience init(layers: any UnaryLayer...) {
    self.init(layers: layers)
  }

  /// The output of the last layer.
  open func callAsFunction(_ x: MLXArray) -> MLXArray {
    layers.reduce(x) { $1($0) }
  }
}
