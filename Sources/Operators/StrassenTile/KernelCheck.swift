import Foundation
import Kernels
import MLX
import OrderedCollections

/// The kernels of this machine against the composed operations that define them.
///
/// Each case is a ragged product with its gradients: |kernel − exact| has to stay within twice the
/// largest error of the composed product in the same type, plus one rounding of the largest
/// magnitude; exact is float64 on the CPU. NaN fails. A second run, one under `compile` and one of rows
/// encoded apart have to give the same bits.
public struct KernelCheck: Codable, Sendable {
  /// One product or gradient.
  public struct Item: Codable, Sendable {
    /// The case.
    public var name: String
    /// `product`, or the gradient's name.
    public var what: String
    /// The largest error over the largest allowed: at most 1 passes.
    public var worst: Double
    /// Whether it passes.
    public var isPassed: Bool

    /// Notes a comparison.
    public init(name: String, what: String, worst: Double, isPassed: Bool) {
      self.name = name
      self.what = what
      self.worst = worst
      self.isPassed = isPassed
    }

    /// What is always allowed of products by factors, as a share of the largest magnitude: the composed product may have
    /// taken exact float32 where ours takes TF32.
    static func floor(of dtype: DType) -> Double {
      dtype == .float32 ? (allowsTF32 ? 2e-3 : 4e-6) : dtype.unitRoundoff
    }

    /// Compares a result with the exact one, float64 on the CPU, by the rule of ``KernelCheck``: `plain` is the same
    /// composed in the same type, `others` are to have the same bits, and `floor` of the largest magnitude is
    /// always allowed.
    init(
      name: String, what: String, _ ours: MLXArray, others: [MLXArray], plain: MLXArray,
      exact: MLXArray, floor: Double, isSame: Bool = true
    ) throws {
      func error(_ array: MLXArray) throws -> Double {
        Double(try abs(array.asType(.float64) - exact).max().item(Float.self))
      }
      let largest = Double(try abs(exact).max().item(Float.self))
      let worst = try error(ours) / (2 * error(plain) + floor * largest)
      let same = try others.allSatisfy { try arrayEqual($0, ours).item(Bool.self) }
      self.init(
        name: name, what: what, worst: worst,
        isPassed: worst <= 1 && isSame && same && ours.shape == exact.shape)
    }
  }

  /// A product to check.
  public struct Case: Sendable, CustomStringConvertible {
    /// The axes of X before the last.
    public var leading: [Int]
    /// K and N.
    public var inputs: Int, outputs: Int
    /// The rank.
    public var rank: Int
    /// Which rows form a tile.
    public var rows: RowPolicy
    /// The element type.
    public var dtype: DType
    /// What is applied to the output.
    public var activation: KernelActivation
    /// Whether gradients are checked too.
    public var gradients: Bool

    /// The case in one line.
    public var description: String {
      "\(rows.rawValue) \(leading.map(String.init).joined(separator: "×"))×\(inputs)×\(outputs) "
        + "rank \(rank) \(dtype.rawValue) \(activation)"
    }
  }

  /// What was compared.
  public var items: [Item] = []
  /// The case that threw and its sentence, if one did: the last that was run.
  public var ending: String?

  /// Whether all were run and passed.
  public var isPassed: Bool { ending == nil && items.allSatisfy(\.isPassed) }

  /// One case by name.
  public typealias Run = (name: String, results: () throws -> [Item])

  /// Of products by kernels those cases whose names are asked for; throws where there are no kernels.
  public static func runs(where isAsked: (String) -> Bool) throws -> [Run] {
    guard Device.default == .gpu else {
      throw KernelError("the check is of a GPU's kernels, and products run on the CPU")
    }
    let own: [Run] = cases.map { item in ("\(item)", { try run(item) }) }
    return own.filter { isAsked($0.name) } + (try FactorCheck.runs(where: isAsked))
      + (ChainCheck.runs() + TwoFourCheck.runs() + (try LaunchCheck.runs())).filter {
        isAsked($0.name)
      }
  }

  /// Runs cases and keeps what they result in, up to one that throws, since a GPU that has met an error computes
  /// nothing any more, or until asked to stop.
  ///
  /// `progress` gets how many of all have been run and which is next.
  public init(
    _ runs: [Run], progress: (Int, Int, String) -> Void = { _, _, _ in },
    isStopRequested: () -> Bool = { false }
  ) {
    for (index, run) in runs.enumerated() where ending == nil {
      progress(index, runs.count, run.name)
      do {
        if isStopRequested() { throw KernelError("not run, since the check was interrupted") }
        items += try run.results()
      } catch {
        ending = "\(run.name): \(error)"
      }
    }
  }

  /// All policies, types and activations, one row to many, sizes that no unit divides.
  public static let cases: [Case] = {
    func make(
      _ leading: [Int], _ inputs: Int, _ outputs: Int, _ rank: Int, _ rows: RowPolicy,
      _ dtype: DType, _ activation: KernelActivation = .none, gradients: Bool = true
    ) -> Case {
      Case(
        leading: leading, inputs: inputs, outputs: outputs, rank: rank, rows: rows, dtype: dtype,
        activation: activation, gradients: gradients)
    }
    var cases = [make([1024], 512, 1024, 16, .flat, .bfloat16)]
    for rows in 1...5 {
      cases.append(make([rows], 100, 75, 16, .flat, .bfloat16, .silu))
      cases.append(make([rows, 7], 64, 256, 24, .batch, .bfloat16))
    }
    for dtype in [DType.bfloat16, .float16, .float32] {
      for rank in [16, 24, 32, 49] {
        cases.append(make([3, 197], 515, 1031, rank, .sequence, dtype, .gelu))
        cases.append(make([6, 331], 1023, 250, rank, .batch, dtype, .geluTanh))
      }
    }
    for dtype in [DType.bfloat16, .float32] {
      cases.append(make([3, 197], 512, 1032, 24, .sequence, dtype, .gelu))
    }
    return cases + [
      make([777], 260, 1300, 40, .flat, .float16, .silu),
      make([4095], 2047, 5631, 24, .flat, .bfloat16),
      make([40000], 96, 100, 16, .flat, .float16),
      make([2_200_003], 16, 20, 16, .flat, .bfloat16, gradients: false),
    ]
  }()

  // MARK: - One case

  /// The product and its gradients by kernels, composed in the same type, and exactly.
  ///
  /// Throws where there are no kernels to check.
  public static func run(_ item: Case) throws -> [Item] {
    let structure = try StrassenTile(
      inputs: item.inputs, outputs: item.outputs, rank: item.rank, rows: item.rows)
    let shape = item.leading + [item.inputs]
    let choice = structure.choice(shape: shape, dtype: item.dtype, keepsDense: false)
    guard choice.path == .kernels else { throw KernelError(choice.reason) }

    let keys = MLXRandom.split(key: MLXRandom.key(UInt64(item.rank)), into: 6)
    func draw(_ shape: [Int], _ key: Int, scale: Double = 1) -> MLXArray {
      (MLXRandom.normal(shape, key: keys[key]) * scale).asType(item.dtype)
    }
    let names = ["input", "weight", "encoder", "decoder", "bias"]
    let primals = [
      draw(shape, 0),
      draw(structure.shapes["weight"] ?? [], 1, scale: 2 / Double(item.inputs).squareRoot()),
      draw([item.rank, 16], 2, scale: 0.25), draw([item.rank, 16], 3, scale: 0.25),
      draw([item.outputs], 4),
    ]
    let cotangent = draw(item.leading + [item.outputs], 5)
    try eval(primals + [cotangent])

    func results(
      _ primals: [MLXArray], _ cotangent: MLXArray, kernels: Bool
    ) throws -> [MLXArray] {
      func product(_ arguments: [MLXArray]) -> MLXArray {
        let parameters: Parameters = [
          "weight": arguments[1], "encoder": arguments[2], "decoder": arguments[3],
        ]
        return kernels
          ? structure.kernelProduct(
            arguments[0], parameters, bias: arguments[4], activation: item.activation)
          : structure.referenceProduct(
            arguments[0], parameters, bias: arguments[4], activation: item.activation)
      }
      let all: [MLXArray]
      if item.gradients {
        let (values, gradients) = try vjp(
          { [product($0)] }, primals: primals, cotangents: [cotangent])
        all = values + gradients
      } else {
        all = [product(primals)]
      }
      try eval(all)
      return all
    }
    let ours = try results(primals, cotangent, kernels: true)
    let again = try results(primals, cotangent, kernels: true)
    let plain = try results(primals, cotangent, kernels: false)
    // Recorded as one graph, the product is the same.
    let recorded = compile { arguments in
      let parameters: Parameters = [
        "weight": arguments[1], "encoder": arguments[2], "decoder": arguments[3],
      ]
      return [
        structure.kernelProduct(
          arguments[0], parameters, bias: arguments[4], activation: item.activation)
      ]
    }(primals)[0]
    // Encoded apart, as for several layers that read one input, too.
    let encoded = structure.product(
      structure.encodedRows(primals[0], primals[2]),
      ["weight": primals[1], "encoder": primals[2], "decoder": primals[3]], bias: primals[4],
      activation: item.activation)
    let isRecorded =
      try arrayEqual(recorded, ours[0]).item(Bool.self)
      && arrayEqual(encoded, ours[0]).item(Bool.self)
    return try Device.withDefaultDevice(.cpu) {
      let exact = try results(
        primals.map { $0.asType(.float64) }, cotangent.asType(.float64), kernels: false)
      return try ours.indices.map { index in
        // The composed product may have taken exact float32 where the kernels take TF32, and it
        // sums the gradient of a basis over rounded planes as the kernels do.
        let isBasis = index > 2
        let floor = item.dtype == .float32 ? 2e-3 : isBasis ? 2e-3 : item.dtype.unitRoundoff
        return try Item(
          name: "\(item)", what: index == 0 ? "product" : "gradient of \(names[index - 1])",
          ours[index], others: [again[index]], plain: plain[index], exact: exact[index],
          floor: floor, isSame: isRecorded)
      }
    }
  }

  /// The failures, and one line for all.
  public var table: String {
    let failures = items.filter { !$0.isPassed }.map {
      "\($0.name), \($0.what): error \($0.worst) of what is allowed"
    }
    let worst = items.map(\.worst).max() ?? 0
    return
      (failures + [ending.map { "the check ended at \($0)" }].compactMap(\.self) + [
        "\(items.count) results, \(failures.count) failures, "
          + "largest error \(String(format: "%.2f", worst)) of what is allowed"
      ]).joined(separator: "\n")
  }
}
