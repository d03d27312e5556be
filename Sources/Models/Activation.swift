import MLX
import MLXNN

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
}
