import Kernels
import MLX

/// The Gaussian error linear unit x Φ(x), with the exact distribution function Φ.
///
/// On the CPU the values are within 2 · 10⁻⁶ of it, by a rational function that is four times as fast
/// there; `float64`, which is for references, keeps the error function.
///
/// Source: Hendrycks, Gimpel, "Gaussian error linear units", 2016, section 2.
public func gelu(_ x: MLXArray) -> MLXArray {
  guard Device.default == .cpu, x.dtype != .float64, x.dtype.isFloatingPoint else {
    return TrainingKernels.activated(x, .gelu) ?? geluByErrorFunction(x)
  }
  return RationalGELU.function()([x.asType(.float32)])[0].asType(x.dtype)
}

/// The definition of ``gelu(_:)``, and what the fast one is tested against.
func geluByErrorFunction(_ x: MLXArray) -> MLXArray {
  x * (1 + erf(x / 2.0.squareRoot())) / 2
}

/// ``gelu(_:)`` with Φ(x) ≈ ½ (1 + tanh(√(2/π) (x + 0.044715 x³))), as GPT-2 has it.
///
/// Source: Hendrycks, Gimpel, "Gaussian error linear units", 2016, section 2.
public func geluApproximate(_ x: MLXArray) -> MLXArray {
  TrainingKernels.activated(x, .geluTanh) ?? geluByTanh(x)
}

/// The definition of ``geluApproximate(_:)``.
func geluByTanh(_ x: MLXArray) -> MLXArray {
  let inner = (2 / Double.pi).squareRoot() * (x + 0.044715 * x * square(x))
  return 0.5 * x * (1 + tanh(inner))
}

/// The sigmoid linear unit x / (1 + e⁻ˣ), also called swish.
public func silu(_ x: MLXArray) -> MLXArray {
  x * sigmoid(x)
}

/// The rectified linear unit max(x, 0).
public func relu(_ x: MLXArray) -> MLXArray {
  maximum(x, 0)
}

/// ``gelu(_:)``, or ``geluApproximate(_:)``, as a layer.
open class GELU: Module, UnaryLayer {
  /// How Φ is computed.
  public enum Approximation: String, Sendable {
    /// Exactly, by the error function.
    case none
    /// By the hyperbolic tangent.
    case tanh
  }

  /// How Φ is computed.
  public let approximation: Approximation

  /// A layer of the exact function, or of the approximation.
  public init(approximation: Approximation = .none) {
    self.approximation = approximation
  }

  /// The function of each element.
  open func callAsFunction(_ x: MLXArray) -> MLXArray {
    approximation == .none ? gelu(x) : geluApproximate(x)
  }
}

/// ``silu(_:)`` as a layer.
open class SiLU: Module, UnaryLayer {
  /// The function of each element.
  open func callAsFunction(_ x: MLXArray) -> MLXArray { silu(x) }
}

/// ``relu(_:)`` as a layer.
open class ReLU: Module, UnaryLayer {
  /// The function of each element.
  open func callAsFunction(_ x: MLXArray) -> MLXArray { relu(x) }
}

/// The hyperbolic tangent as a layer.
open class Tanh: Module, UnaryLayer {
  /// The function of each element.
  open func callAsFunction(_ x: MLXArray) -> MLXArray { tanh(x) }
}
