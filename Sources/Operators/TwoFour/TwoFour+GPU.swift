import Foundation
import Kernels
import MLX

extension TwoFour {
  /// Sparse tensor cores where there are such and the weight is kept compressed (`keepsDense`: a
  /// state made once may be kept); elsewhere the dense weight where it is kept, which the composed
  /// product makes first.
  public func choice(shape: [Int], dtype: DType, keepsDense: Bool) -> ProductChoice {
    let rows = shape.dropLast().reduce(1, *)
    guard Device.default == .gpu, let gpu = try? GPU.current.get() else {
      return ProductChoice(
        keepsDense ? .dense : .reference,
        because: "the product goes through the dense weight, which is "
          + (keepsDense ? "kept" : "not kept"))
    }
    let model = FactorModel(gpu, allowsTF32: allowsTF32)
    let dense = model.dense(
      rows: rows, inputs: inputs, outputs: outputs, elementSize: dtype.size)
    let reference = dense + model.forming(inputs * outputs, elementSize: dtype.size)
    do throws(KernelError) {
      if let obstacle = SparseProducts.obstacle(rows: rows) { throw KernelError(obstacle) }
      _ = try SparseProducts.named(outputs: outputs, inputs: inputs, dtype: dtype)
    } catch {
      return ProductChoice(
        keepsDense ? .dense : .reference, because: error.description,
        predictions: [.reference: reference, .dense: dense])
    }
    let sparse = model.sparse(rows: rows, inputs: inputs, outputs: outputs)
    let path: ProductPath = keepsDense ? (sparse < dense ? .kernels : .dense) : .reference
    return ProductChoice(
      path,
      because: String(
        format: "expected %.4f ms on sparse tensor cores, %.4f ms dense, %.4f ms spread first",
        sparse * 1e3, dense * 1e3, reference * 1e3)
        + (keepsDense ? "" : "; the compressed weight is not kept"),
      predictions: [.kernels: sparse, .reference: reference, .dense: dense])
  }

  /// The weight compressed for cuSPARSELt, after its search for the fastest algorithm for so many rows; where
  /// that cannot be, the dense weight.
  public func prepared(
    _ parameters: Parameters, rows: Int, dtype: DType
  ) throws -> (any PreparedProduct)? {
    guard let weight = dense(parameters)?.asType(dtype) else { return nil }
    guard Device.default == .gpu, SparseProducts.obstacle(rows: rows) == nil,
      let products = try? SparseProducts.named(outputs: outputs, inputs: inputs, dtype: dtype)
    else {
      return PreparedMatrix(transposed: contiguous(weight.transposed()), dtype: dtype)
    }
    return PreparedSparse(
      products: products, compressed: try products.compress(weight, rows: rows))
  }
}

/// A 2:4 weight on sparse tensor cores.
struct PreparedSparse: PreparedProduct {
  let products: SparseProducts
  let compressed: MLXArray

  var arrays: [MLXArray] { [compressed] }

  var method: String { "a sparse product" }

  func callAsFunction(
    _ rows: MLXArray, bias: MLXArray?, activation: KernelActivation
  ) -> MLXArray? {
    guard rows.dtype == products.dtype, SparseProducts.obstacle(rows: rows.dim(0)) == nil else {
      return nil
    }
    return FactorEpilogue(bias: bias?.asType(rows.dtype), activation: activation)(
      products(rows, compressed: compressed))
  }
}
