import MLX

/// What training does to whole arrays beside its products, each in one pass over them on the GPU.
///
/// MLX composes these of several passes, or sums columns on a few multiprocessors, which took most of
/// a step of GPT-2 124M on an H200 (docs/log-gpu-training.md). A function returns `nil` where there
/// is no kernel for the arrays or the device; the caller composes the result then, which is also what
/// defines it.
public enum TrainingKernels {
  /// The library, where the arrays are computed on a GPU that has one.
  private static var library: KernelLibrary? {
    Device.default == .gpu ? try? KernelLibrary.current.get() : nil
  }

  private static func kernel(
    _ file: String, _ role: String, _ dtype: DType, _ options: [String: Int] = [:]
  ) -> CUDAKernel? {
    guard let library, let element = dtype.kernelElement else { return nil }
    return try? library.kernel(variant(file, role, element, options))
  }

  private static func variant(
    _ file: String, _ role: String, _ element: Int, _ options: [String: Int]
  ) -> KernelVariant {
    KernelVariant(
      file: "Training/\(file).cu", role: "training_\(role)",
      options: options.merging(["ELEMENT": element]) { $1 })
  }

  /// Whether a kernel can count the elements of an array.
  private static func isCountable(_ x: MLXArray) -> Bool {
    x.failure == nil && x.size > 0 && x.size <= Int(Int32.max)
  }

  /// Compiles all kernels for the types, and for norms of so many columns, on all processors.
  ///
  /// Throws where there is no GPU, and what the compiler says of the first that it refuses.
  public static func prepare(_ dtypes: [DType], columns: [Int]) throws(KernelError) {
    let library = try KernelLibrary.current.get()
    let all = dtypes.flatMap { variants(dtype: $0, columns: columns) }
    library.prepare(all)
    for variant in all { _ = try library.kernel(variant) }
  }

  /// Every compilation for an element type, with norms of so many columns.
  static func variants(dtype: DType, columns: [Int]) -> [KernelVariant] {
    guard let element = dtype.kernelElement else { return [] }
    let norms = Set(columns.map(normThreads)).sorted().flatMap { threads in
      [1, 0].map { ["CENTRED": $0, "THREADS": threads] }
    }
    let activations = KernelActivation.allCases.filter { $0 != .none }.map(\.rawValue)
    let named: [(file: String, role: String, options: [[String: Int]])] = [
      ("ColumnSum", "column_partials", [[:]]), ("ColumnSum", "column_sum", [["SUM": 1]]),
      ("NormGradient", "norm_gradient", norms),
      ("CrossEntropy", "cross_entropy", [[:], ["GRADIENT": 1]]),
      ("Elementwise", "activation", activations.map { ["ACTIVATION": $0] }),
      (
        "Elementwise", "activation", activations.map { ["ACTIVATION": $0, "GRADIENT": 1] }
      ),
      ("AdamW", "adamw", (1...arraysOfLaunch).map { ["COUNT": $0] }),
      ("SquareSum", "square_sum", (1...arraysOfLaunch).map { ["COUNT": $0] }),
    ]
    return named.flatMap { item in
      item.options.map { variant(item.file, item.role, element, $0) }
    }
  }

  // MARK: - Sums

  /// The sum over the rows of x [M, N] → [N] of its type, in `float32` and in a fixed order.
  ///
  /// Bound by reading x.
  public static func columnSum(_ x: MLXArray) -> MLXArray? {
    guard x.ndim == 2, isCountable(x),
      let partial = kernel("ColumnSum", "column_partials", x.dtype), let library
    else { return nil }
    let (rows, columns) = (x.dim(0), x.dim(1))
    let across = (columns + 255) / 256
    let slices = max(
      1, min((rows + 63) / 64, (4 * library.gpu.multiprocessors + across - 1) / across))
    let partials = partial(
      [x], outputs: [.init([slices, columns], .float32)],
      scalars: [.int(rows), .int(columns), .int(slices)],
      grid: .init(across, slices), block: .init(256))[0]
    return sumOfSlices(partials, dtype: x.dtype)
  }

  /// The sum of partial sums [slices, N] → [N].
  private static func sumOfSlices(_ partials: MLXArray, dtype: DType) -> MLXArray? {
    guard let kernel = kernel("ColumnSum", "column_sum", dtype, ["SUM": 1]) else { return nil }
    let (slices, columns) = (partials.dim(0), partials.dim(1))
    return kernel(
      [partials], outputs: [.init([columns], dtype)], scalars: [.int(slices), .int(columns)],
      grid: .init((columns + 31) / 32), block: .init(256))[0]
  }

  /// The most arrays that one launch treats.
  private static let arraysOfLaunch = 8

  /// Arrays by type and in their order, as many together as one launch treats.
  private static func launches(_ arrays: [MLXArray]) -> [[Int]] {
    Dictionary(grouping: arrays.indices, by: { arrays[$0].dtype }).values
      .sorted { $0[0] < $1[0] }
      .flatMap { indices in
        stride(from: 0, to: indices.count, by: arraysOfLaunch).map {
          Array(indices[$0..<Swift.min($0 + arraysOfLaunch, indices.count)])
        }
      }
  }

  /// Parts of the sum of the squares of arrays, `float32` [blocks] each.
  public static func squareSums(_ arrays: [MLXArray]) -> [MLXArray]? {
    guard let library, arrays.allSatisfy(isCountable) else { return nil }
    var parts: [MLXArray] = []
    for indices in launches(arrays) {
      let group = indices.map { arrays[$0] }
      guard
        let kernel = kernel("SquareSum", "square_sum", group[0].dtype, ["COUNT": group.count])
      else { return nil }
      let blocks = group.map {
        max(1, min(($0.size + 16383) / 16384, 2 * library.gpu.multiprocessors))
      }
      let total = blocks.reduce(0, +)
      parts += kernel(
        group, outputs: [.init([total], .float32)],
        scalars: group.map { .int($0.size) } + blocks.map { .int($0) }, grid: .init(total),
        block: .init(256))
    }
    return parts
  }

  // MARK: - Norms

  private static let widestNorm = 8192

  private static func normThreads(_ columns: Int) -> Int { (columns / 8 + 31) / 32 * 32 }

  /// Whether ``normGradient(_:weight:cotangent:eps:isCentred:)`` has a kernel for x [..., D].
  public static func hasNormGradient(_ x: MLXArray, weight: MLXArray) -> Bool {
    let columns = weight.dim(0)
    return columns > 0 && columns % 8 == 0 && columns <= widestNorm && isCountable(x)
      && x.dtype == weight.dtype && x.dim(x.ndim - 1) == columns
      && kernel("ColumnSum", "column_sum", x.dtype, ["SUM": 1]) != nil
  }

  /// The gradients of y = (x − mean) / √(variance + eps) · weight + bias over the last axis, or
  /// without the mean where nothing is centred: of x [..., D], of weight [D] and of bias [D].
  ///
  /// Reads x and the cotangent once and writes the gradient of x once.
  public static func normGradient(
    _ x: MLXArray, weight: MLXArray, cotangent: MLXArray, eps: Float, isCentred: Bool
  ) -> (x: MLXArray, weight: MLXArray, bias: MLXArray)? {
    let columns = weight.dim(0)
    let threads = normThreads(columns)
    guard hasNormGradient(x, weight: weight), cotangent.dtype == x.dtype, let library,
      let kernel = kernel(
        "NormGradient", "norm_gradient", x.dtype,
        ["CENTRED": isCentred ? 1 : 0, "THREADS": threads])
    else { return nil }
    let rows = x.size / columns
    let blocks = min(rows, library.gpu.multiprocessors * max(1, min(8, 1024 / threads)))
    let results = kernel(
      [x, cotangent, weight],
      outputs: [.init(x.shape, x.dtype), .init([blocks, 2 * columns], .float32)],
      scalars: [.int(rows), .int(columns), .float(eps)], grid: .init(blocks),
      block: .init(threads))
    guard let sums = sumOfSlices(results[1], dtype: x.dtype) else { return nil }
    return (results[0], sums[0..<columns], sums[columns..<(2 * columns)])
  }

  // MARK: - Losses

  /// The cross-entropy `float32` [M] of classes [M] under softmax(logits [M, C]), with the target
  /// (1 − smoothing) of the class and smoothing / C of each; it has a gradient.
  ///
  /// Reads the logits once, and its gradient once more; nothing else of their size is kept.
  public static func crossEntropy(
    _ logits: MLXArray, classes targets: MLXArray, smoothing: Float
  ) -> MLXArray? {
    let dtype = logits.dtype
    guard logits.ndim == 2, targets.ndim == 1, isCountable(logits),
      targets.dim(0) == logits.dim(0),
      let value = kernel("CrossEntropy", "cross_entropy", dtype),
      let gradient = kernel("CrossEntropy", "cross_entropy", dtype, ["GRADIENT": 1])
    else { return nil }
    let (rows, count) = (logits.dim(0), logits.dim(1))
    let scalars: [CUDAKernel.Scalar] = [.int(count), .float(smoothing)]
    let classes = targets.asType(.int32)
    let function = CustomFunction(outputs: 2) { primals in
      value(
        [primals[0], classes], outputs: [.init([rows], .float32), .init([rows], .float32)],
        scalars: scalars, grid: .init(rows), block: .init(512))
    } backward: { primals, cotangents, outputs in
      gradient(
        [primals[0], classes, outputs[1], cotangents[0]], outputs: [.init([rows, count], dtype)],
        scalars: scalars, grid: .init(rows), block: .init(512))
    }
    return function([logits])[0]
  }

  // MARK: - Activations

  /// The activation of each element; it has a gradient, which keeps x alone.
  public static func activated(_ x: MLXArray, _ activation: KernelActivation) -> MLXArray? {
    guard activation != .none, isCountable(x),
      let value = kernel(
        "Elementwise", "activation", x.dtype, ["ACTIVATION": activation.rawValue])
    else { return nil }
    let function = CustomFunction { primals in
      [launch(value, [primals[0]])]
    } backward: { primals, cotangents, _ in
      let gradient = activationGradient(primals[0], cotangent: cotangents[0], activation)
      guard let gradient else {
        throw MLXError("[activation] expected a kernel of the gradient, got none.")
      }
      return [gradient]
    }
    return function([x])[0]
  }

  /// The gradient of an activation at x for a cotangent of its type.
  public static func activationGradient(
    _ x: MLXArray, cotangent: MLXArray, _ activation: KernelActivation
  ) -> MLXArray? {
    guard activation != .none, isCountable(x), cotangent.dtype == x.dtype,
      let gradient = kernel(
        "Elementwise", "activation", x.dtype,
        ["ACTIVATION": activation.rawValue, "GRADIENT": 1])
    else { return nil }
    return launch(gradient, [x, cotangent])
  }

  private static func launch(_ kernel: CUDAKernel, _ inputs: [MLXArray]) -> MLXArray {
    let x = inputs[0]
    return kernel(
      inputs, outputs: [.init(x.shape, x.dtype)], scalars: [.int(x.size)],
      grid: .init((x.size + 2047) / 2048), block: .init(256))[0]
  }

  // MARK: - The optimiser

  /// One parameter of an update of AdamW: all but the gradient are `float32`.
  public struct AdamWItem {
    /// The gradient, of any type, the parameter and its moments, all of one shape.
    public var gradient: MLXArray, parameter: MLXArray, first: MLXArray, second: MLXArray
    /// What the rate is multiplied by, and the weight decay.
    public var multiplier: Float, decay: Float

    /// Describes a parameter.
    public init(
      gradient: MLXArray, parameter: MLXArray, first: MLXArray, second: MLXArray,
      multiplier: Float, decay: Float
    ) {
      (self.gradient, self.parameter) = (gradient, parameter)
      (self.first, self.second) = (first, second)
      (self.multiplier, self.decay) = (multiplier, decay)
    }

    fileprivate var isFit: Bool {
      TrainingKernels.isCountable(gradient)
        && [parameter, first, second].allSatisfy {
          $0.dtype == .float32 && $0.shape == gradient.shape
        }
    }
  }

  /// What one update of AdamW gives for a parameter.
  public struct AdamWResult {
    /// The parameter and its moments, `float32`.
    public var parameter: MLXArray, first: MLXArray, second: MLXArray
    /// The parameter in the type of the gradient.
    public var rounded: MLXArray
  }

  /// One update of AdamW of several parameters; `terms` holds, `float32` [4], the rate, 1 − β₁ᵗ,
  /// √(1 − β₂ᵗ) and what the gradients are multiplied by.
  ///
  /// Source: Loshchilov, Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.
  public static func adamW(
    _ items: [AdamWItem], terms: MLXArray, betas: (Float, Float), eps: Float
  ) -> [AdamWResult]? {
    guard items.allSatisfy(\.isFit) else { return nil }
    var results: [AdamWResult?] = items.map { _ in nil }
    for indices in launches(items.map(\.gradient)) {
      let group = indices.map { items[$0] }
      guard
        let updated = launch(group, terms: terms, betas: betas, eps: eps)
      else { return nil }
      for (index, result) in zip(indices, updated) { results[index] = result }
    }
    return results.compactMap(\.self)
  }

  private static func launch(
    _ group: [AdamWItem], terms: MLXArray, betas: (Float, Float), eps: Float
  ) -> [AdamWResult]? {
    let (count, dtype) = (group.count, group[0].gradient.dtype)
    guard let kernel = kernel("AdamW", "adamw", dtype, ["COUNT": count]) else { return nil }
    let shapes = group.map(\.gradient.shape)
    let wide = shapes.map { CUDAKernel.Output($0, .float32) }
    let rounded = dtype == .float32 ? [] : shapes.map { CUDAKernel.Output($0, dtype) }
    let scalars: [CUDAKernel.Scalar] =
      group.map { .int($0.gradient.size) } + group.map { .float($0.multiplier) }
      + group.map { .float($0.decay) } + [.float(betas.0), .float(betas.1), .float(eps)]
    let out = kernel(
      group.map(\.gradient) + group.map(\.parameter) + group.map(\.first)
        + group.map(\.second) + [terms],
      outputs: wide + wide + wide + rounded, scalars: scalars,
      grid: .init(group.reduce(0) { $0 + ($1.gradient.size + 2047) / 2048 }),
      block: .init(256))
    return group.indices.map {
      AdamWResult(
        parameter: out[$0], first: out[count + $0], second: out[2 * count + $0],
        rounded: out[(rounded.isEmpty ? 0 : 3 * count) + $0])
    }
  }
}
