import CMLX

/// A product of operands; on the CPU, numbers of two bytes are multiplied as `float32` and rounded once.
///
/// MLX's own loops take the place of BLAS for them there, at a fiftieth of its rate; they sum in `float32` too.
private func multiplied(
  _ operands: [MLXArray], by product: ([MLXArray]) -> MLXArray
) -> MLXArray {
  guard Device.default == .cpu, let type = operands.first?.dtype,
    type == .bfloat16 || type == .float16, operands.allSatisfy({ $0.dtype == type })
  else { return product(operands) }
  return product(operands.map { $0.asType(.float32) }).asType(type)
}

/// The matrix product [..., M, K] · [..., K, N] → [..., M, N]; leading axes broadcast.
///
/// Cost: M·K·N multiply-adds a matrix, by OpenBLAS on the CPU and cuBLASLt on the GPU.
public func matmul(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  multiplied([a, b]) { .running($0) { cmlx_matmul(&$0, $1[0], $1[1]) } }
}

/// beta · c + alpha · a b, with the product of ``matmul(_:_:)``.
public func addMM(
  _ c: MLXArray, _ a: MLXArray, _ b: MLXArray, alpha: Float = 1, beta: Float = 1
) -> MLXArray {
  multiplied([c, a, b]) {
    .running($0) { cmlx_addmm(&$0, $1[0], $1[1], $1[2], alpha, beta) }
  }
}

/// The sum of products that an Einstein summation such as `"bik,bkj->bij"` names.
public func einsum(_ subscripts: String, _ operands: MLXArray...) -> MLXArray {
  einsum(subscripts, operands: operands)
}

/// The sum of products that an Einstein summation such as `"bik,bkj->bij"` names.
public func einsum(_ subscripts: String, operands: [MLXArray]) -> MLXArray {
  multiplied(operands) { .running($0) { cmlx_einsum(&$0, subscripts, $1, $1.count) } }
}

/// The Kronecker product: [a, b] and [c, d] → [a·c, b·d].
public func kron(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_kron(&$0, $1[0], $1[1]) }
}

/// The outer product of two vectors: [M] and [N] → [M, N].
public func outer(_ a: MLXArray, _ b: MLXArray) -> MLXArray {
  .running([a, b]) { cmlx_outer(&$0, $1[0], $1[1]) }
}

/// The Walsh–Hadamard transform of the last axis, a power of two long, times a scale.
public func hadamardTransform(_ a: MLXArray, scale: Float) -> MLXArray {
  .running([a]) { cmlx_hadamard_transform(&$0, $1[0], scale) }
}

extension MLXArray {
  /// The matrix product [..., M, K] · [..., K, N] → [..., M, N].
  public func matmul(_ other: MLXArray) -> MLXArray { MLX.matmul(self, other) }
}
