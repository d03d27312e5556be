import MLX
import Synchronization

/// The Strassen-Tile product of tile 4 on a GPU: encode, one batched matrix product, decode.
///
/// Both basis changes read their input once and write their output once; the products are the
/// engine's (cuBLASLt), on planes that lie as it wants them. Planes are [R, tile rows, pitch], row
/// major, pitch the number of tiles in a row rounded up to 16 bytes, zeros between.
///
/// Every operation has a gradient by the same kernels: an encode's is a decode with the same basis
/// and the other way round.
public struct StrassenTileKernels: Sendable {
  /// The rank R.
  public let rank: Int
  /// The element type: `bfloat16` and `float16` with float32 sums, `float32` through TF32.
  public let dtype: DType
  private let encoding: CUDAKernel
  private let decodings: [CUDAKernel]
  /// The same for rows that begin anywhere.
  private let stagedDecodings: [CUDAKernel]
  private let basisPartials: CUDAKernel
  private let basisSum: CUDAKernel
  /// Blocks of the gradient of a basis: a fixed number, so that its sums have a fixed order.
  private let basisBlocks: Int

  /// The largest rank: beyond it a thread's registers do not hold the basis.
  public static let maximumRank = 64

  private struct Key: Hashable {
    let rank: Int
    let dtype: DType
  }

  private static let known = Mutex<[Key: Result<StrassenTileKernels, KernelError>]>([:])

  /// The kernels of a rank and type on this machine's GPU, compiled on first use.
  ///
  /// Throws, with what to do, where there is no GPU, no compiler, or no kernel for the type or rank.
  public static func named(rank: Int, dtype: DType) throws(KernelError) -> StrassenTileKernels {
    try known.withLock { known in
      let key = Key(rank: rank, dtype: dtype)
      if let kernels = known[key] { return kernels }
      let kernels: Result<StrassenTileKernels, KernelError> = Result {
        () throws(KernelError) in
        try StrassenTileKernels(rank: rank, dtype: dtype, library: try KernelLibrary.current.get())
      }
      known[key] = kernels
      return kernels
    }.get()
  }

  private init(rank: Int, dtype: DType, library: KernelLibrary) throws(KernelError) {
    let variants = try StrassenTileKernels.variants(rank: rank, dtype: dtype)
    library.prepare(
      [variants.encode, variants.basisPartials, variants.basisSum] + variants.decode
        + variants.stagedDecode)
    self.rank = rank
    self.dtype = dtype
    basisBlocks = 4 * library.gpu.multiprocessors
    encoding = try library.kernel(variants.encode)
    func kernels(_ variants: [KernelVariant]) throws(KernelError) -> [CUDAKernel] {
      var kernels: [CUDAKernel] = []
      for variant in variants { kernels.append(try library.kernel(variant)) }
      return kernels
    }
    decodings = try kernels(variants.decode)
    stagedDecodings = try kernels(variants.stagedDecode)
    basisPartials = try library.kernel(variants.basisPartials)
    basisSum = try library.kernel(variants.basisSum)
  }

  /// The compilations for a rank and type; both decodes have one for each activation.
  ///
  /// Throws where there is no kernel for the type or rank.
  static func variants(
    rank: Int, dtype: DType
  ) throws(KernelError) -> (
    encode: KernelVariant, decode: [KernelVariant], stagedDecode: [KernelVariant],
    basisPartials: KernelVariant, basisSum: KernelVariant
  ) {
    guard let element = dtype.kernelElement, (1...maximumRank).contains(rank) else {
      throw KernelError(
        "[strassen-tile] expected bfloat16, float16 or float32 and a rank of 1 to \(maximumRank), "
          + "got \(dtype.rawValue) and rank \(rank); the composed product does it.")
    }
    let options = ["RANK": rank, "ELEMENT": element]
    func variant(_ file: String, _ role: String, _ more: [String: Int] = [:]) -> KernelVariant {
      KernelVariant(
        file: file, role: "strassen_\(role)", options: options.merging(more) { $1 })
    }
    return (
      variant("StrassenEncode.cu", "encode"),
      KernelActivation.allCases.map {
        variant("StrassenDecode.cu", "decode", ["ACTIVATION": $0.rawValue])
      },
      KernelActivation.allCases.map {
        variant("StrassenDecode.cu", "decode", ["ACTIVATION": $0.rawValue, "STAGED": 1])
      },
      variant("BasisGradient.cu", "basis_partials"),
      variant("BasisGradient.cu", "basis_sum", ["SUM": 1])
    )
  }

  /// Columns of a plane for a number of inputs or outputs.
  public func pitch(_ columns: Int) -> Int {
    let unit = 16 / dtype.size
    return ((columns + 3) / 4 + unit - 1) / unit * unit
  }

  // MARK: - Launches

  /// x [M, columns], basis [R, 16] → planes [R, tile rows, pitch].
  private func launchEncode(_ x: MLXArray, _ basis: MLXArray, _ rows: TileRows) -> MLXArray {
    let (columns, pitch) = (x.dim(1), pitch(x.dim(1)))
    // A block takes 256 bytes of four rows of each plane.
    let across = (pitch * dtype.size + 255) / 256
    return encoding(
      [x, basis], outputs: [.init([rank, rows.count, pitch], dtype)],
      scalars: rows.scalars + [.int(columns), .int(columns), .int(pitch)],
      grid: .init(across * ((rows.count + 3) / 4)), block: .init(256))[0]
  }

  /// planes [R, tile rows, pitch], basis [R, 16] → activation(y + bias) [M, columns].
  private func launchDecode(
    _ planes: MLXArray, _ basis: MLXArray, bias: MLXArray?, _ activation: KernelActivation,
    _ rows: TileRows, columns: Int
  ) -> MLXArray {
    let isStaged = columns * dtype.size % 16 != 0
    return (isStaged ? stagedDecodings : decodings)[activation.rawValue](
      [planes, basis, bias ?? basis], outputs: [.init([rows.rows, columns], dtype)],
      scalars: rows.scalars + [
        .int(columns), .int(columns), .bool(bias != nil), .int(pitch(columns)),
      ],
      grid: .init((columns + 511) / 512 * ((rows.count + 3) / 4)), block: .init(256))[0]
  }

  /// The gradient [R, 16] of a basis, in `float32`: Σ over tiles of planes ⊗ tiles of z.
  private func launchBasisGradient(
    _ planes: MLXArray, _ z: MLXArray, _ rows: TileRows
  ) -> MLXArray {
    let columns = z.dim(1)
    let partials = basisPartials(
      [planes, z], outputs: [.init([basisBlocks, rank, 16], .float32)],
      scalars: rows.scalars + [.int(columns), .int(columns), .int(pitch(columns))],
      grid: .init(basisBlocks), block: .init(256))[0]
    return basisSum(
      [partials], outputs: [.init([rank, 16], .float32)], scalars: [.int(basisBlocks)],
      grid: .init(rank), block: .init(256))[0]
  }

  // MARK: - Operations with gradients

  /// x [M, K], encoder [R, 16] → planes [R, tile rows, pitch of K].
  public func encode(_ x: MLXArray, _ encoder: MLXArray, _ rows: TileRows) -> MLXArray {
    let function = CustomFunction(
      forward: { [launchEncode($0[0], $0[1].asType(dtype), rows)] },
      backward: { primals, cotangents, _ in
        let (x, basis) = (primals[0], primals[1])
        return [
          launchDecode(
            cotangents[0], basis.asType(dtype), bias: nil, .none, rows, columns: x.dim(1)),
          launchBasisGradient(cotangents[0], x, rows).asType(basis.dtype),
        ]
      })
    return function([x, encoder])[0]
  }

  /// planes [R, tile rows, pitch of K], weight [R, N/4, K/4] → [R, tile rows, pitch of N].
  public func multiply(
    _ planes: MLXArray, _ weight: MLXArray, inputs: Int, outputs: Int
  ) -> MLXArray {
    let missing = [
      (0, 0), (0, pitch(outputs) - weight.dim(1)), (0, pitch(inputs) - weight.dim(2)),
    ]
    let typed = weight.asType(dtype)
    let whole = missing.contains { $0.1 > 0 } ? padded(typed, widths: missing) : typed
    let function = CustomFunction(
      forward: { [matmul($0[0], $0[1].swappedAxes(1, 2))] },
      backward: { primals, cotangents, _ in
        [
          matmul(cotangents[0], primals[1]),
          matmul(cotangents[0].swappedAxes(1, 2), primals[0]),
        ]
      })
    return function([planes, whole])[0]
  }

  /// planes [R, tile rows, pitch of N], decoder [R, 16], bias [N] → activation(y + bias) [M, N].
  public func decode(
    _ planes: MLXArray, _ decoder: MLXArray, bias: MLXArray? = nil,
    activation: KernelActivation = .none, _ rows: TileRows, outputs: Int
  ) -> MLXArray {
    let function = CustomFunction(
      forward: { inputs in
        let bias = inputs.count > 2 ? inputs[2].asType(dtype) : nil
        return [
          launchDecode(
            inputs[0], inputs[1].asType(dtype), bias: bias, activation, rows, columns: outputs)
        ]
      },
      backward: { primals, cotangents, _ in
        let basis = primals[1].asType(dtype)
        var dy = cotangents[0]
        if activation != .none {
          let bias = primals.count > 2 ? primals[2].asType(dtype) : nil
          let before = launchDecode(
            primals[0], basis, bias: bias, .none, rows, columns: outputs)
          dy = try gradient(of: activation, before, dy)
        }
        let gradients = [
          launchEncode(dy, basis, rows),
          launchBasisGradient(primals[0], dy, rows).asType(primals[1].dtype),
        ]
        guard primals.count > 2 else { return gradients }
        let sums = TrainingKernels.columnSum(dy) ?? sum(dy.asType(.float32), axis: 0)
        return gradients + [sums.asType(primals[2].dtype)]
      })
    return function([planes, decoder] + [bias].compactMap(\.self))[0]
  }

  private func gradient(
    of activation: KernelActivation, _ x: MLXArray, _ cotangent: MLXArray
  ) throws -> MLXArray {
    if let gradient = TrainingKernels.activationGradient(x, cotangent: cotangent, activation) {
      return gradient
    }
    return try vjp(
      { [activation($0[0].asType(.float32)).asType(dtype)] }, primals: [x], cotangents: [cotangent]
    ).gradients[0]
  }

  /// x [M, K] → activation(y + bias) [M, N], with weight [R, N/4, K/4], encoder and decoder [R, 16].
  ///
  /// Keeps x for the backward pass and computes the planes again there.
  public func product(
    _ x: MLXArray, weight: MLXArray, encoder: MLXArray, decoder: MLXArray, bias: MLXArray? = nil,
    activation: KernelActivation = .none, _ rows: TileRows, outputs: Int
  ) -> MLXArray {
    let function = checkpoint { arguments in
      let planes = encode(arguments[0], arguments[2], rows)
      let products = multiply(
        planes, arguments[1], inputs: arguments[0].dim(1), outputs: outputs)
      return [
        decode(
          products, arguments[3], bias: arguments.count > 4 ? arguments[4] : nil,
          activation: activation, rows, outputs: outputs)
      ]
    }
    return function([x, weight, encoder, decoder] + [bias].compactMap(\.self))[0]
  }
}
