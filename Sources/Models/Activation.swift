import Kernels
import Layers
import MLX
import MLXNN
import Operators

/// An activation function by its name in `config.json`.
public enum Activation: String, CaseIterable, Hashable, Sendable {
  /// x Φ(x) with the exact distribution function.
  case gelu
  /// The same function under an older name.
  case geluPython = "gelu_python"
  /// x Φ(x) with Φ by the hyperbolic tangent, as in GPT-2.
  case geluNew = "gelu_new"
  /// The same function under another name.
  case geluFast = "gelu_fast"
  /// The same function under another name.
  case geluTanh = "gelu_pytorch_tanh"
  /// max(x, 0).
  case relu
  /// x / (1 + e⁻ˣ).
  case silu
  /// The same function under another name.
  case swish

  /// The function of each element.
  public func callAsFunction(_ x: MLXArray) -> MLXArray {
    switch self {
    case .gelu, .geluPython: MLXNN.gelu(x)
    case .geluNew, .geluFast, .geluTanh: MLXNN.geluApproximate(x)
    case .relu: MLXNN.relu(x)
    case .silu, .swish: MLXNN.silu(x)
    }
  }

  /// What kernels apply where they write, `nil` where they have no such function.
  var kernel: KernelActivation? {
    switch self {
    case .gelu, .geluPython: .gelu
    case .geluNew, .geluFast, .geluTanh: .geluTanh
    case .relu: nil
    case .silu, .swish: .silu
    }
  }

  /// The function of a layer's output, in one pass over it where the layer's kernels write it so.
  func callAsFunction(after layer: any UnaryLayer, _ x: MLXArray) -> MLXArray {
    if let kernel, let layer = layer as? StructuredLinear,
      layer.structure.fusesActivation(shape: x.shape, dtype: x.dtype)
    {
      return layer(x, activation: kernel)
    }
    return self(layer(x))
  }
}
