import Kernels
import MLX
import MLXNN
import MLXOptimizers
import Operators

/// The kernels of training against the operations that define them, by the rule of ``KernelCheck``.
enum TrainingKernelCheck {
  private typealias Function = ([MLXArray]) -> [MLXArray]

  /// One function, with what defines it.
  private struct Case {
    let name: String
    /// What the function gets; the gradient is that of the first `differentiable` of them.
    let inputs: [MLXArray]
    let differentiable: Int
    let fast: Function
    let plain: Function
  }

  /// Every kernel in every type, on sizes that no unit divides and on those that it does.
  ///
  /// The first compiles them: a function whose kernel is missing would compose its result, and pass.
  static func runs() -> [KernelCheck.Run] {
    let types: [DType] = [.bfloat16, .float16, .float32]
    let compilation: KernelCheck.Run = (
      "compilation for training",
      {
        try TrainingKernels.prepare(types, columns: sizesOfNorms.map(\.columns))
        return []
      }
    )
    return [compilation]
      + types.flatMap { dtype in
        cases(dtype).map { item in ("\(item.name) \(dtype.rawValue)", { try run(item, dtype) }) }
      }
  }

  private static let sizesOfNorms: [(rows: Int, columns: Int)] = [
    (1, 8), (1000, 768), (257, 1000), (33, 4096), (70, 8192),
  ]

  private static func cases(_ dtype: DType) -> [Case] {
    var draws: UInt64 = 0
    func draw(_ shape: [Int], scale: Double = 1) -> MLXArray {
      draws += 1
      return (MLXRandom.normal(shape, key: MLXRandom.key(draws)) * scale).asType(dtype)
    }
    var cases: [Case] = []
    for (rows, columns) in sizesOfNorms {
      let layer = LayerNorm(dimensions: columns, eps: 1e-5)
      cases.append(
        Case(
          name: "layer norm \(rows)×\(columns)",
          inputs: [draw([rows, columns], scale: 3), draw([columns]), draw([columns])],
          differentiable: 3,
          fast: { arguments in
            layer.weight?.update(arguments[1])
            layer.bias?.update(arguments[2])
            return [layer(arguments[0])]
          },
          plain: { arguments in
            let x = arguments[0] - arguments[0].mean(axis: -1, keepDims: true)
            let scale = rsqrt(square(x).mean(axis: -1, keepDims: true) + 1e-5)
            return [x * scale * arguments[1] + arguments[2]]
          }))
      let rms = RMSNorm(dimensions: columns, eps: 1e-5)
      cases.append(
        Case(
          name: "RMS norm \(rows)×\(columns)",
          inputs: [draw([rows, columns]), draw([columns])], differentiable: 2,
          fast: { arguments in
            rms.weight.update(arguments[1])
            return [rms(arguments[0])]
          },
          plain: { arguments in
            let x = arguments[0]
            return [x * rsqrt(square(x).mean(axis: -1, keepDims: true) + 1e-5) * arguments[1]]
          }))
    }
    for (rows, inputs, outputs) in [(1, 16, 3), (4099, 64, 321), (2048, 256, 3072)] {
      let layer = Linear(inputs, outputs)
      cases.append(
        Case(
          name: "bias of \(rows)×\(inputs)×\(outputs)",
          inputs: [
            draw([rows, inputs]), draw([outputs, inputs], scale: 0.1), draw([outputs]),
          ], differentiable: 3,
          fast: { arguments in
            layer.weight.update(arguments[1])
            layer.bias?.update(arguments[2])
            return [layer(arguments[0])]
          }, plain: { [matmul($0[0], $0[1].T) + $0[2]] }))
    }
    for (rows, classes) in [(1, 2), (65, 1001), (64, 50304)] {
      let targets = MLXRandom.randInt(
        low: 0, high: classes, [rows], key: MLXRandom.key(UInt64(classes)))
      for smoothing in [Float(0), 0.1] {
        cases.append(
          Case(
            name: "cross-entropy \(rows)×\(classes), smoothing \(smoothing)",
            inputs: [draw([rows, classes], scale: 4), targets], differentiable: 1,
            fast: {
              [crossEntropy(logits: $0[0], targets: $0[1], labelSmoothing: smoothing)]
            },
            plain: { arguments in
              let x = arguments[0]
              let score = takeAlong(x, arguments[1].expandedDimensions(axis: -1), axis: -1)
              return [
                logSumExp(x, axis: -1) - score.squeezed(axis: -1) * (1 - smoothing)
                  - x.mean(axis: -1) * smoothing
              ]
            }))
      }
    }
    let activations: [(KernelActivation, (MLXArray) -> MLXArray)] = [
      (.gelu, gelu), (.geluTanh, geluApproximate),
      (.silu, { TrainingKernels.activated($0, .silu) ?? MLXArray.zeros(like: $0) }),
    ]
    for (activation, function) in activations {
      cases.append(
        Case(
          name: "\(activation)", inputs: [draw([1001, 67], scale: 3)], differentiable: 1,
          fast: { [function($0[0])] }, plain: { [activation($0[0])] }))
    }
    for count in [1, 4099, 100_000] {
      let state = [draw([count]), draw([count], scale: 0.1), square(draw([count], scale: 0.1))]
      cases.append(
        Case(
          name: "AdamW of \(count)",
          inputs: [draw([count], scale: 0.1)] + state.map { $0.asType(.float32) },
          differentiable: 0, fast: { adamW($0, byKernel: true) },
          plain: { adamW($0, byKernel: false) }))
      cases.append(
        Case(
          name: "squares of \(count)", inputs: [draw([count])], differentiable: 0,
          fast: { [squaredNorm([$0[0], MLXArray(Float(0)), $0[0] * 0])] },
          plain: { [square($0[0].asType($0[0].dtype.size < 4 ? .float32 : $0[0].dtype)).sum()] }))
    }
    return cases
  }

  /// One update of AdamW: gradient, parameter and moments → parameter and moments.
  private static func adamW(_ arguments: [MLXArray], byKernel: Bool) -> [MLXArray] {
    let terms = [1e-2, 0.1, 0.2, 0.7]
    guard !byKernel else {
      // The one that is looked at among others, shorter ones, of the same launch.
      let item = TrainingKernels.AdamWItem(
        gradient: arguments[0], parameter: arguments[1], first: arguments[2],
        second: arguments[3], multiplier: 2, decay: 0.1)
      let single = TrainingKernels.AdamWItem(
        gradient: MLXArray.ones([1], dtype: arguments[0].dtype), parameter: MLXArray.ones([1]),
        first: MLXArray.ones([1]), second: MLXArray.ones([1]), multiplier: 1, decay: 0)
      let results = TrainingKernels.adamW(
        [single, single, item, single, single, single, single, single, single],
        terms: MLXArray(terms.map { Float($0) }, [4]), betas: (0.9, 0.99), eps: 1e-8)
      return results.map { [$0[2].parameter, $0[2].first, $0[2].second] } ?? []
    }
    let gradient = arguments[0].asType(arguments[1].dtype) * terms[3]
    let first = 0.9 * arguments[2] + 0.1 * gradient
    let second = 0.99 * arguments[3] + 0.01 * square(gradient)
    let change = (first / terms[1]) / (sqrt(second) / terms[2] + 1e-8)
    let rate = 2 * terms[0]
    return [arguments[1] * (1 - rate * 0.1) - rate * change, first, second]
  }

  private static func run(_ item: Case, _ dtype: DType) throws -> [KernelCheck.Item] {
    try eval(item.inputs)
    let constants = Array(item.inputs[item.differentiable...])
    let primals = Array(item.inputs[..<item.differentiable])
    func results(
      _ function: @escaping Function, _ primals: [MLXArray], _ constants: [MLXArray]
    ) throws -> [MLXArray] {
      let values = function(primals + constants)
      var all = values
      if !primals.isEmpty, let value = values.first {
        let cotangent = cos(arange(value.size).asType(.float32)).reshaped(value.shape)
        all += try vjp(
          { function($0 + constants) }, primals: primals,
          cotangents: [cotangent.asType(value.dtype)]
        ).gradients
      }
      try eval(all)
      return all
    }
    let ours = try results(item.fast, primals, constants)
    let again = try results(item.fast, primals, constants)
    let plain = try results(item.plain, primals, constants)
    return try Device.withDefaultDevice(.cpu) {
      func wide(_ array: MLXArray) -> MLXArray {
        array.dtype.isFloatingPoint ? array.asType(.float64) : array
      }
      let exact = try results(item.plain, primals.map(wide), constants.map(wide))
      guard ours.count == exact.count else {
        return [
          KernelCheck.Item(
            name: "\(item.name) \(dtype.rawValue)", what: "results", worst: .infinity,
            isPassed: false)
        ]
      }
      return try exact.indices.map { index in
        func error(_ array: MLXArray) throws -> Double {
          Double(try abs(array.asType(.float64) - exact[index]).max().item(Float.self))
        }
        let largest = Double(try abs(exact[index]).max().item(Float.self))
        let floor = Swift.max(ours[index].dtype.unitRoundoff, 1e-6)
        let worst = try error(ours[index]) / (2 * (try error(plain[index])) + floor * largest)
        let same = try arrayEqual(ours[index], again[index]).item(Bool.self)
        return KernelCheck.Item(
          name: "\(item.name) \(dtype.rawValue)",
          what: index == 0 ? "value" : "result \(index)", worst: worst,
          isPassed: worst <= 1 && same && ours[index].shape == exact[index].shape)
      }
    }
  }
}
