import Kernels
import MLX
import OrderedCollections

extension FactorStep {
  fileprivate var isBlockDiagonal: Bool {
    if case .factor(let pattern) = self { pattern.d == 1 } else { false }
  }

  /// The shapes of the weights, and how many inputs each output of theirs sums.
  var weights: [(shape: [Int], fanIn: Int)] {
    switch self {
    case .pair(let pair): pair.cores.map { ($0.shape, $0.fanIn) }
    case .factor(let p): [([p.a, p.b, p.c, p.d], p.c)]
    }
  }

  /// Whether a method's instructions are there on a GPU: clusters since Hopper, its warpgroups on Hopper alone.
  func hasInstructions(for method: FactorMethod, on gpu: GPU) -> Bool {
    switch (self, method) {
    case (_, .warpgroups): gpu.major == 9
    case (.pair, .kernel): gpu.major >= 9
    default: true
    }
  }
}

/// Products of factors on a GPU against the composed operations that define them, by the rule of
/// ``KernelCheck``: every method that can do a step, with its gradients.
struct FactorCheck: Sendable, CustomStringConvertible {
  /// What is computed.
  var step: FactorStep
  /// By what.
  var method: FactorMethod
  /// M.
  var rows: Int
  /// The element type.
  var dtype: DType
  /// What is applied to the output.
  var activation: KernelActivation
  /// Whether gate and residual are there, too.
  var hasExtras: Bool
  /// How many elements after a multiple of 16 bytes x begins.
  var offset: Int

  var description: String {
    "\(step.name) by \(method.rawValue), \(rows) rows \(dtype.rawValue) \(activation)"
      + (hasExtras ? ", gate and residual" : "") + (offset > 0 ? ", offset \(offset)" : "")
  }

  /// Pairs in clusters of 1 to 8 and of ranks 1 to 8, factors with every kind of d, one row to many,
  /// sizes that no unit divides, rows that begin anywhere.
  static let cases: [FactorCheck] = {
    func pair(_ m0: Int, _ m1: Int, _ n0: Int, _ n1: Int, _ rank: Int) -> FactorStep {
      .pair(
        BlockPair(
          inputs: m0 * m1, outputs: n0 * n1, m0: m0, m1: m1, n0: n0, n1: n1, rank: rank))
    }
    func factor(_ a: Int, _ b: Int, _ c: Int, _ d: Int) -> FactorStep {
      .factor(KroneckerPattern(a, b, c, d))
    }
    var cases: [FactorCheck] = []
    func add(
      _ step: FactorStep, _ rows: Int, _ dtype: DType = .bfloat16,
      _ activation: KernelActivation = .none, extras: Bool = false, offset: Int = 0,
      byWarpgroups: Bool = false
    ) {
      for method in [FactorMethod.kernel, .warpgroups, .turned, .strided] {
        if method == .kernel, dtype == .float32 { continue }
        if step.isBlockDiagonal, method == .turned || method == .warpgroups && !byWarpgroups {
          continue
        }
        if case .pair(let pair) = step {
          if method == .turned || method == .warpgroups && dtype == .float32 { continue }
          if pair.shape.isLowRank, method != .warpgroups { continue }
          if method == .kernel, PairPlan.named(pair.shape) == nil { continue }
          if method == .warpgroups, PairGroupsPlan.named(pair.shape) == nil { continue }
        }
        if method == .strided, case .factor(let pattern) = step, pattern.d > 1 || pattern.a == 1 {
          continue
        }
        cases.append(
          FactorCheck(
            step: step, method: method, rows: rows, dtype: dtype, activation: activation,
            hasExtras: extras, offset: offset))
      }
    }
    add(pair(32, 32, 32, 32, 1), 1000)
    for rows in [1, 2, 5, 17] { add(pair(24, 32, 24, 32, 1), rows, .float16, .silu, extras: true) }
    add(pair(24, 32, 24, 32, 2), 515, .bfloat16, .gelu)
    add(pair(24, 32, 24, 32, 4), 333, .bfloat16, .geluTanh, extras: true)
    add(pair(48, 16, 16, 48, 3), 700, .float16, .gelu)
    add(pair(32, 64, 32, 64, 1), 2049)
    add(pair(64, 64, 64, 64, 1), 1201, .bfloat16, .silu, extras: true)
    add(pair(7, 5, 6, 9, 3), 41, .bfloat16, .none, extras: true)
    add(pair(24, 16, 17, 19, 1), 77, .float16, .gelu)
    add(pair(32, 32, 32, 32, 1), 129, offset: 3)
    add(pair(20, 12, 8, 33, 2), 301, .float32, .gelu)
    add(pair(64, 64, 64, 64, 2), 257, .bfloat16)
    // Outputs that clusters share; pieces of more than a box of 64 numbers.
    add(pair(48, 64, 48, 64, 2), 1100, .bfloat16, .geluTanh, extras: true)
    add(pair(32, 64, 32, 64, 4), 700, .float16)
    add(pair(128, 8, 8, 128, 4), 777)
    // Low rank.
    add(pair(768, 1, 1, 768, 24), 1030, .bfloat16, .gelu, extras: true)
    add(pair(96, 1, 1, 64, 40), 333, .float16)
    add(pair(33, 1, 1, 29, 5), 65, offset: 3)
    for (index, pattern) in [
      factor(1, 48, 48, 8), factor(1, 64, 64, 16), factor(1, 192, 48, 24), factor(6, 64, 64, 1),
      factor(4, 48, 48, 64), factor(2, 128, 128, 4), factor(1, 64, 64, 3), factor(3, 50, 37, 7),
      factor(5, 31, 29, 1), factor(1, 33, 65, 40),
    ].enumerated() {
      if index % 2 == 0 {
        add(pattern, 333)
      } else {
        add(pattern, 77, .float16, .gelu, extras: true)
      }
    }
    for rows in [1, 2, 16, 63] { add(factor(1, 64, 64, 16), rows) }
    add(factor(1, 64, 64, 16), 300, offset: 5)
    add(factor(12, 48, 192, 1), 555, .float32, .silu)
    // Narrow blocks, of which some are multiplied as one.
    add(factor(8, 48, 48, 1), 300, .float16, .gelu, extras: true, byWarpgroups: true)
    add(factor(6, 96, 64, 1), 333)
    // Blocks by warpgroups; sums that are long where they are to be exact, turned and not.
    add(factor(1, 96, 384, 1), 1030, .bfloat16, .gelu, extras: true, byWarpgroups: true)
    add(factor(5, 64, 40, 1), 77, offset: 3, byWarpgroups: true)
    add(factor(3, 128, 512, 1), 515, .float32, .silu, extras: true, byWarpgroups: true)
    add(factor(2, 64, 320, 4), 333, .float32)
    // Outputs of all l that a tensor map writes.
    for (index, d) in [1, 2, 4, 8].enumerated() {
      let pattern = factor(2, 128, 104, d)
      add(pattern, 1030, .float32, byWarpgroups: true)
      if index % 2 == 0 { add(pattern, 300, .float32, .gelu, extras: true, byWarpgroups: true) }
    }
    add(factor(3, 128, 64, 1), 1030, .float16, .gelu, extras: true, byWarpgroups: true)
    add(factor(4, 96, 384, 16), 1030)
    for pattern in [factor(1, 48, 48, 16), factor(2, 64, 96, 4), factor(3, 24, 37, 5)] {
      add(pattern, 333, .float32)
      add(pattern, 200, .float32, .gelu, extras: true)
    }
    add(factor(1, 64, 48, 32), 130, .float32, offset: 1)
    // By tensor maps, shared by two blocks; weights that stay and weights that do not; rows anywhere.
    add(factor(2, 64, 40, 32), 200, .bfloat16, .gelu, extras: true)
    add(factor(1, 192, 192, 32), 260)
    add(factor(2, 96, 96, 32), 140, offset: 3)
    // In whole runs; outputs of two warpgroups that differ in l.
    add(factor(2, 128, 128, 6), 300, .float16, .gelu, extras: true)
    add(factor(1, 128, 256, 3), 260, .float32)
    add(factor(1, 64, 96, 24), 1030)
    add(factor(3, 80, 48, 12), 333, .float32, .silu, extras: true)
    add(factor(3, 80, 48, 12), 300, .float32, offset: 1)
    // Weights too many to stay in shared memory.
    add(factor(1, 64, 640, 16), 301)
    return cases
  }()

  /// The cases asked for; what they take is compiled on all processors first.
  static func runs(where isAsked: (String) -> Bool) throws -> [KernelCheck.Run] {
    let library = try KernelLibrary.current.get()
    let cases = cases.filter { item in
      isAsked("\(item)") && item.step.hasInstructions(for: item.method, on: library.gpu)
    }
    library.prepare(
      cases.flatMap { item in
        let extra = item.hasExtras ? MLXArray.zeros([1]) : nil
        return item.step.variants(
          item.method, rows: item.rows, dtype: item.dtype, gpu: library.gpu,
          epilogue: FactorEpilogue(
            bias: MLXArray.zeros([1]), activation: item.activation, gate: extra, residual: extra),
          gradients: true)
      })
    return cases.map { item in ("\(item)", { try item.run() }) }
  }

  /// The result and its gradients by the method, composed in the same type, and exactly.
  ///
  /// Throws where the method cannot be taken on this machine.
  func run() throws -> [KernelCheck.Item] {
    if let obstacle = step.obstacle(method, dtype: dtype) { throw KernelError(obstacle) }
    let keys = MLXRandom.split(key: MLXRandom.key(UInt64(rows)), into: 8)
    func draw(_ shape: [Int], _ key: Int, scale: Double = 1) -> MLXArray {
      (MLXRandom.normal(shape, key: keys[key]) * scale).asType(dtype)
    }
    let x = draw([offset + rows * step.inputs], 0)[offset...].reshaped(rows, step.inputs)
    let weights = step.weights.enumerated().map { index, item in
      draw(item.shape, 1 + index, scale: 1 / Double(item.fanIn).squareRoot())
    }
    let output = [rows, step.outputs]
    let extras = [draw([step.outputs], 3)] + (hasExtras ? [draw(output, 4), draw(output, 5)] : [])
    let names =
      ["input"] + weights.indices.map { "weight \($0)" } + ["bias", "gate", "residual"]
    let primals = [x] + weights + extras
    let cotangent = draw(output, 6)
    try eval(primals + [cotangent])

    func product(_ arguments: [MLXArray], _ method: FactorMethod) -> MLXArray {
      let rest = Array(arguments[(1 + weights.count)...])
      return step.product(
        method, arguments[0], Array(arguments[1...weights.count]),
        FactorEpilogue(
          bias: rest[0], activation: activation, gate: hasExtras ? rest[1] : nil,
          residual: hasExtras ? rest[2] : nil))
    }
    func results(
      _ primals: [MLXArray], _ cotangent: MLXArray, _ method: FactorMethod
    ) throws -> [MLXArray] {
      let (values, gradients) = try vjp(
        { [product($0, method)] }, primals: primals, cotangents: [cotangent])
      try eval(values + gradients)
      return values + gradients
    }
    let ours = try results(primals, cotangent, method)
    let again = try results(primals, cotangent, method)
    let plain = try results(primals, cotangent, .composed)
    // Recorded as one graph a kernel gives the same bits; what is composed around strided products is
    // fused then, and rounds elsewhere.
    let recorded = compile { [product($0, method)] }(primals)[0]
    let difference = abs(recorded.asType(.float32) - ours[0].asType(.float32)).max()
    let largest = abs(ours[0].asType(.float32)).max()
    let isRecorded =
      try method == .kernel || method == .warpgroups
      ? arrayEqual(recorded, ours[0]).item(Bool.self)
      : difference.item(Float.self) <= 4 * Float(dtype.unitRoundoff) * largest.item(Float.self)
    return try Device.withDefaultDevice(.cpu) {
      let exact = try results(
        primals.map { $0.asType(.float64) }, cotangent.asType(.float64), .composed)
      return try ours.indices.map { index in
        try KernelCheck.Item(
          name: "\(self)", what: index == 0 ? "product" : "gradient of \(names[index - 1])",
          ours[index], others: [again[index]], plain: plain[index], exact: exact[index],
          floor: KernelCheck.Item.floor(of: dtype), isSame: isRecorded)
      }
    }
  }
}
