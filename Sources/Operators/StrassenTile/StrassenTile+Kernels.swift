import Foundation
import Kernels
import MLX
import OrderedCollections

extension StrassenTile {
  /// The kernels on an NVIDIA GPU, for tiles of 4 and up to rank 64; else the composed operations.
  ///
  /// A kept dense weight is taken where ``/Kernels/StrassenTileModel`` expects it to be faster.
  public func choice(shape: [Int], dtype: DType, keepsDense: Bool) -> ProductChoice {
    if Device.default == .cpu {
      return choiceOnCPU(shape: shape, dtype: dtype, keepsDense: keepsDense)
    }
    switch kernels(for: dtype) {
    case .failure(let error):
      return ProductChoice(.reference, because: error.description)
    case .success:
      guard let gpu = try? GPU.current.get() else {
        return ProductChoice(.reference, because: "there is no GPU")
      }
      let rows = Arrangement(shape, tile: tile, rows: rows).tileRows
      guard rows.rows > 0 else { return ProductChoice(.reference, because: "there are no rows") }
      let model = StrassenTileModel(gpu)
      let kernels = model.strassenTile(
        rows: rows, inputs: inputs, outputs: outputs, rank: rank, elementSize: dtype.size)
      let dense = model.dense(
        m: rows.rows, n: outputs, k: inputs, elementSize: dtype.size)
      let path: ProductPath = keepsDense && dense < kernels ? .dense : .kernels
      func milliseconds(_ seconds: Double) -> String {
        String(format: "%.3f ms", seconds * 1e3)
      }
      return ProductChoice(
        path,
        because:
          "expected \(milliseconds(kernels)) by the kernels, \(milliseconds(dense)) dense"
          + (keepsDense ? "" : ", whose weight is not kept"),
        predictions: [.kernels: kernels, .dense: dense])
    }
  }

  /// The product by encode, batched product and decode kernels.
  ///
  /// For the backward pass it keeps x, not the planes.
  public func kernelProduct(
    _ x: MLXArray, _ parameters: Parameters, bias: MLXArray?, activation: KernelActivation
  ) -> MLXArray {
    // What has the wrong shape gets its error from the definition.
    guard x.dim(-1) == inputs, x.size > 0, let weight = whole(Name.weight, parameters),
      let encoder = whole(Name.encoder, parameters), let decoder = whole(Name.decoder, parameters),
      bias == nil || bias?.shape == [outputs]
    else { return referenceProduct(x, parameters, bias: bias, activation: activation) }
    let arrangement = Arrangement(x.shape, tile: tile, rows: rows)
    if Device.default == .cpu, CPUModel.types.contains(x.dtype),
      let y = productOnCPU(
        x.asType(.float32).reshaped(-1, inputs), weight: weight.asType(.float32),
        encoder: encoder.asType(.float32),
        decoder: decoder.asType(.float32), bias: bias?.asType(.float32), activation: activation,
        isShort: x.dtype == .bfloat16 && CPU.multipliesBFloat16, arrangement)
    {
      return y.reshaped(arrangement.leading + [outputs]).asType(x.dtype)
    }
    guard case .success(let kernels) = kernels(for: x.dtype) else {
      return referenceProduct(x, parameters, bias: bias, activation: activation)
    }
    return kernels.product(
      x.reshaped(-1, inputs), weight: weight, encoder: encoder, decoder: decoder, bias: bias,
      activation: activation, arrangement.tileRows, outputs: outputs
    ).reshaped(arrangement.leading + [outputs])
  }

  // MARK: - Rows encoded once for several layers

  /// Whether several layers that read an input of a shape and type gain by encoding it once.
  ///
  /// Not where a kernel of the CPU encodes as it goes and keeps nothing.
  public func sharesEncoding(shape: [Int], dtype: DType) -> Bool {
    Device.default == .gpu
      || choice(shape: shape, dtype: dtype, keepsDense: false).path == .reference
  }

  /// ``encode(_:_:)`` by the fastest path of this machine, for the product of encoded
  /// rows below.
  ///
  /// For the backward pass the planes are kept: R/16 of the size of x.
  public func encodedRows(_ x: MLXArray, _ encoder: MLXArray) -> EncodedRows {
    guard case .success(let kernels) = kernels(for: x.dtype), x.dim(-1) == inputs, x.size > 0,
      encoder.shape == shapes[Name.encoder]
    else { return encode(x, encoder) }
    let arrangement = Arrangement(x.shape, tile: tile, rows: rows)
    return EncodedRows(
      planes: kernels.encode(x.reshaped(-1, inputs), encoder, arrangement.tileRows),
      arrangement: arrangement, inputs: inputs, kernels: kernels)
  }

  /// activation(Y + bias) [..., N] of rows that were encoded before.
  public func product(
    _ rows: EncodedRows, _ parameters: Parameters, bias: MLXArray? = nil,
    activation: KernelActivation = .none
  ) -> MLXArray {
    guard let kernels = rows.kernels, rows.inputs == inputs, kernels.rank == rank,
      let weight = whole(Name.weight, parameters), let decoder = whole(Name.decoder, parameters),
      bias == nil || bias?.shape == [outputs]
    else {
      let y = apply(rows, parameters)
      return activation(bias.map { y + $0 } ?? y)
    }
    let products = kernels.multiply(rows.planes, weight, inputs: inputs, outputs: outputs)
    return kernels.decode(
      products, decoder, bias: bias, activation: activation, rows.arrangement.tileRows,
      outputs: outputs
    ).reshaped(rows.arrangement.leading + [outputs])
  }

  /// A parameter that is there and has its shape.
  private func whole(_ name: String, _ parameters: Parameters) -> MLXArray? {
    parameters[name].flatMap { $0.shape == shapes[name] ? $0 : nil }
  }

  /// The kernels for an element type on the device in use, or why there are none.
  private func kernels(for dtype: DType) -> Result<StrassenTileKernels, KernelError> {
    Result { () throws(KernelError) in
      guard Device.default == .gpu else {
        throw KernelError("the product runs on the CPU, which has no kernels of its own")
      }
      guard tile == 4 else { throw KernelError("the kernels are for tiles of 4, not of \(tile)") }
      guard dtype != .float32 || StrassenTile.allowsTF32 else {
        throw KernelError("MLX_ENABLE_TF32=0 asks for more than the kernels' TF32")
      }
      return try StrassenTileKernels.named(rank: rank, dtype: dtype)
    }
  }

  /// Whether float32 products may round to TF32: MLX's own switch, on unless told otherwise.
  static let allowsTF32 = ProcessInfo.processInfo.environment["MLX_ENABLE_TF32"] != "0"
}

extension StrassenTile.Arrangement {
  /// The rows as the kernels take them.
  var tileRows: TileRows {
    TileRows(samples: samples, length: tokens, acrossSamples: tilesAreAcrossSamples)
  }
}
