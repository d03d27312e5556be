import MLX

/// Products with a 2:4 weight on sparse tensor cores, by cuSPARSELt: for weights that do not change.
public struct SparseProducts: Sendable {
  /// N and K, multiples of 32.
  public let outputs: Int, inputs: Int
  /// bfloat16 or float16.
  public let dtype: DType

  private static let workspaceBytes = 32 << 20

  /// Throws, with the reason, where this machine cannot do it.
  public static func named(
    outputs: Int, inputs: Int, dtype: DType
  ) throws(KernelError) -> SparseProducts {
    guard dtype == .bfloat16 || dtype == .float16 else {
      throw KernelError(
        "sparse tensor cores are for bfloat16 and float16 here, not \(dtype.rawValue)")
    }
    guard outputs > 0, inputs > 0, outputs % 32 == 0, inputs % 32 == 0 else {
      throw KernelError(
        "cuSPARSELt takes multiples of 32 outputs and inputs, not \(outputs) and \(inputs)")
    }
    do { try SparseProduct.check() } catch { throw KernelError("\(error)") }
    return SparseProducts(outputs: outputs, inputs: inputs, dtype: dtype)
  }

  /// Why products of so many rows are not possible; `nil` where they are.
  public static func obstacle(rows: Int) -> String? {
    rows > 0 && rows % 8 == 0 ? nil : "cuSPARSELt takes multiples of 8 rows, not \(rows)"
  }

  /// The weight [N, K] compressed, after a search for the fastest algorithm for so many rows.
  ///
  /// Runs now. Two of every four numbers along K are zero, or the result is undefined.
  public func compress(_ weight: MLXArray, rows: Int) throws -> MLXArray {
    try SparseProduct(rows: rows, outputs: outputs, inputs: inputs).compress(
      weight.asType(dtype),
      workspace: contiguous(MLXArray.zeros([SparseProducts.workspaceBytes], dtype: .uint8)))
  }

  /// x [M, K] → [M, N].
  public func callAsFunction(_ x: MLXArray, compressed: MLXArray) -> MLXArray {
    SparseProduct(rows: x.dim(0), outputs: outputs, inputs: inputs)(x, compressed: compressed)
  }
}
