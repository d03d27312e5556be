import CMLX

/// Y [rows, outputs] = X [rows, inputs] Wᵀ with a 2:4 weight, on an NVIDIA GPU's sparse tensor cores.
///
/// Of the weight two of every four numbers along the inputs are zero. By cuSPARSELt, for 16-bit elements.
/// There is no gradient.
public struct SparseProduct: Sendable, Hashable {
  /// The sizes: rows a multiple of 8, the others of 32.
  public var rows: Int, outputs: Int, inputs: Int

  /// Describes a product.
  public init(rows: Int, outputs: Int, inputs: Int) {
    (self.rows, self.outputs, self.inputs) = (rows, outputs, inputs)
  }

  private var c: CMLXSparseProduct {
    CMLXSparseProduct(rows: Int64(rows), outputs: Int64(outputs), inputs: Int64(inputs))
  }

  /// Throws why this machine cannot do it, if it cannot: no GPU, no CUDA build of MLX, no cuSPARSELt.
  public static func check() throws {
    if let error = MLXError(consuming: cmlx_sparse_product_check()) { throw error }
  }

  /// Bytes of a compressed weight of a type, and of the room that compressing takes.
  private func sizes(like array: MLXArray) throws -> (compressed: Int, buffer: Int) {
    var product = c
    var (compressed, buffer) = (0, 0)
    let handle = try array.handle()
    try withExtendedLifetime(array) {
      try MLX.check(cmlx_sparse_product_sizes(&product, handle, &compressed, &buffer))
    }
    return (compressed, buffer)
  }

  /// The weight [outputs, inputs] as the product reads it, and cuSPARSELt's search for the fastest algorithm
  /// for so many rows.
  ///
  /// All of it runs now, the search in `workspace`.
  public func compress(_ weight: MLXArray, workspace: MLXArray) throws -> MLXArray {
    let sizes = try sizes(like: weight)
    let x = MLXRandom.normal([rows, inputs], key: MLXRandom.key(0)).asType(weight.dtype)
    let compressed = contiguous(MLXArray.zeros([sizes.compressed], dtype: .uint8))
    let buffer = contiguous(MLXArray.zeros([max(1, sizes.buffer)], dtype: .uint8))
    let room = contiguous(MLXArray.zeros([rows, outputs], dtype: weight.dtype))
    let dense = contiguous(weight)
    try eval(x, dense, compressed, buffer, room, workspace)
    try Stream.default().synchronize()
    var product = c
    let arrays = [dense, x, compressed, buffer, room, workspace]
    let handles = try arrays.map { try $0.handle() }
    try withExtendedLifetime(arrays) {
      try MLX.check(
        cmlx_sparse_product_compress(
          &product, handles[0], handles[1], handles[2], handles[3], handles[4], handles[5]))
    }
    return compressed
  }

  /// The product [rows, outputs] of x [rows, inputs] and a compressed weight, of x's type.
  public func callAsFunction(_ x: MLXArray, compressed: MLXArray) -> MLXArray {
    var product = c
    return MLXArray.running([x, compressed], shape: [rows, outputs], dtype: x.dtype) {
      cmlx_sparse_product(&$0, &product, $1[0], $1[1], $2)
    }
  }
}
