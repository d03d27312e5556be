import Foundation
import Kernels
import MLX
import OrderedCollections

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
      return PreparedMatrix(weight: contiguous(weight), dtype: dtype)
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

/// Products on sparse tensor cores against the composed operations, by the rule of ``KernelCheck``, with other
/// numbers of rows than the weight was compressed for, too.
enum TwoFourCheck {
  static let cases: [(rows: Int, inputs: Int, outputs: Int, dtype: DType)] = [
    (1000, 256, 512, .bfloat16), (64, 1024, 96, .float16),
  ]

  static func runs() -> [KernelCheck.Run] {
    cases.map { item in
      ("2:4 of \(item.rows)×\(item.inputs)×\(item.outputs)", { try run(item) })
    }
  }

  /// Nothing where cuSPARSELt is missing: then the reference is what runs.
  private static func run(
    _ item: (rows: Int, inputs: Int, outputs: Int, dtype: DType)
  ) throws -> [KernelCheck.Item] {
    let structure = TwoFour(inputs: item.inputs, outputs: item.outputs)
    guard
      (try? SparseProducts.named(
        outputs: item.outputs, inputs: item.inputs, dtype: item.dtype)) != nil
    else { return [] }
    let parameters = structure.initialize(key: MLXRandom.key(5)).mapValues {
      $0.dtype.isFloatingPoint ? $0.asType(item.dtype) : $0
    }
    let prepared = try structure.prepared(parameters, rows: item.rows, dtype: item.dtype)
    return try [item.rows, 8, item.rows + 24].map { rows in
      let x = MLXRandom.normal([rows, item.inputs], key: MLXRandom.key(6)).asType(item.dtype)
      let bias = MLXRandom.normal([item.outputs], key: MLXRandom.key(7)).asType(item.dtype)
      try eval(x, bias)
      func product() throws -> MLXArray {
        let y = prepared?(x, bias: bias, activation: .gelu)
        let result = y ?? MLXArray(failure: MLXError("[2:4] expected a product, got none."))
        try eval(result)
        return result
      }
      let (ours, again) = (try product(), try product())
      let plain = structure.referenceProduct(x, parameters, bias: bias, activation: .gelu)
      try eval(plain)
      return try Device.withDefaultDevice(.cpu) {
        let exact = structure.referenceProduct(
          x.asType(.float64),
          parameters.mapValues { $0.dtype.isFloatingPoint ? $0.asType(.float64) : $0 },
          bias: bias.asType(.float64), activation: .gelu)
        return try KernelCheck.Item(
          name: "\(structure) sparse, \(rows) rows \(item.dtype.rawValue)", what: "product",
          ours, others: [again], plain: plain, exact: exact, floor: item.dtype.unitRoundoff)
      }
    }
  }
}
