import Foundation
import Kernels
import MLX
import OrderedCollections

/// The CPU's kernels against the composed operations that define them, at every level of vector
/// instructions that this processor has.
///
/// |kernel − exact| has to stay within twice the largest error of the composed product in float32,
/// plus two roundings of the largest magnitude, since of a single row the composed error may be small by
/// chance; exact is float64. Products of planes in bfloat16, whose sums are of float32, have to stay within
/// twice the portable level's error. NaN fails, and so does a thread count that changes a bit.
public struct CPUCheck: Codable, Sendable {
  /// What was compared.
  public var items: [KernelCheck.Item]

  /// Whether all passed.
  public var isPassed: Bool { items.allSatisfy(\.isPassed) }

  /// A structure, sizes and what is done to the product, with a bias where there is an activation.
  struct Case {
    var spec: String
    var inputs: Int, outputs: Int
    var shape: [Int]
    var activation: KernelActivation

    init(
      _ spec: String, _ inputs: Int, _ outputs: Int, _ shape: [Int],
      _ activation: KernelActivation = .none
    ) {
      (self.spec, self.inputs, self.outputs) = (spec, inputs, outputs)
      (self.shape, self.activation) = (shape, activation)
    }
  }

  /// Structures, ragged sizes, one row to many, all activations.
  static let cases = [
    Case("stl:rank=16", 100, 75, [1]), Case("stl:rank=24", 515, 131, [3, 37]),
    Case("stl:rank=49,rows=batch", 64, 60, [5, 7]),
    Case("stl:rank=7,tile=2,rows=flat", 33, 250, [203]),
    Case("stl:rank=32", 1030, 410, [2, 190], .gelu), Case("stl:rank=16", 64, 300, [70], .geluTanh),
    Case("stl:rank=23,tile=3", 50, 40, [90], .silu),
    Case("btt:rank=1", 256, 256, [130]), Case("btt:rank=3", 70, 90, [700], .gelu),
    Case("monarch:blocks=4", 48, 96, [1], .silu), Case("monarch:blocks=16", 512, 300, [5, 9]),
    Case("ks:3x2x4x1+1x5x2x3", 12, 15, [77], .geluTanh), Case("ks:1x48x48x8", 384, 384, [130]),
  ]

  /// Runs the cases whose specs are asked for at all levels, until asked to stop.
  public init(
    where isAsked: (String) -> Bool = { _ in true }, isStopRequested: () -> Bool = { false }
  ) throws {
    items = try Device.withDefaultDevice(.cpu) {
      try CPU.Level.allCases.filter { $0 <= CPU.level }.flatMap { level in
        try CPUCheck.cases.filter { isAsked($0.spec) }.flatMap { item in
          isStopRequested() ? [] : try CPUCheck.run(item, level)
        }
      }
    }
  }

  private static func run(_ item: Case, _ level: CPU.Level) throws -> [KernelCheck.Item] {
    let (inputs, outputs, shape) = (item.inputs, item.outputs, item.shape)
    let structure = try OperatorSpec(parsing: item.spec).makeOperator(
      inputs: inputs, outputs: outputs)
    let keys = MLXRandom.split(key: MLXRandom.key(17), into: 4)
    let parameters = structure.initialize(key: keys[0])
    let x = MLXRandom.normal(shape + [inputs], key: keys[1])
    let dy = MLXRandom.normal(shape + [outputs], key: keys[2])
    let bias = item.activation == .none ? nil : MLXRandom.normal([outputs], key: keys[3])
    let trained: [String] = parameters.filter { $0.value.dtype == DType.float32 }.map { $0.key }

    func composed(_ type: DType) throws -> [MLXArray] {
      let primals = ([x] + trained.compactMap { parameters[$0] } + [bias].compactMap(\.self)).map {
        $0.asType(type)
      }
      let (values, gradients) = try vjp(
        { all in
          var moved: Parameters = parameters.mapValues { $0.asType(type) }
          for (name, array) in zip(trained, all.dropFirst()) { moved[name] = array }
          return [
            structure.referenceProduct(
              all[0], moved, bias: bias == nil ? nil : all[trained.count + 1],
              activation: item.activation)
          ]
        }, primals: primals, cotangents: [dy.asType(type)])
      return values + gradients
    }
    func kernels(_ threads: Int) throws -> [MLXArray] {
      let (flat, gradient) = (x.reshaped(-1, inputs), dy.reshaped(-1, outputs))
      if let tile = structure as? StrassenTile {
        return try tile.onCPU(
          flat, gradient, shape, parameters, bias: bias, activation: item.activation, level: level,
          threads: threads)
      }
      guard let operation = structure as? any ChainOperator,
        let kernel = FactorChainCPU(
          rows: flat.dim(0), inputs: inputs, outputs: outputs, widths: operation.chain.widths,
          factors: operation.chain.factors, level: level, threads: threads)
      else { throw KernelError("the CPU has no kernels for \(item.spec)") }
      let weights = operation.chainWeights(parameters)
      let gradients = kernel.gradients(
        flat, gradient, weights: weights, bias: bias, activation: item.activation)
      return [kernel(flat, weights: weights, bias: bias, activation: item.activation), gradients.x]
        + gradients.weights
    }
    let ours = try kernels(1)
    let others = try [2, 3].map(kernels)
    let (plain, exact) = (try composed(.float32), try composed(.float64))
    let items = try ours.indices.map { index in
      let shape = exact[index].shape
      return try KernelCheck.Item(
        name: "\(item.spec) \(item.shape + [inputs, outputs])"
          + (item.activation == .none ? "" : " \(item.activation)") + " \(level)",
        what: index == 0 ? "product" : "gradient \(index)", ours[index].reshaped(shape),
        others: others.map { $0[index].reshaped(shape) }, plain: plain[index], exact: exact[index],
        floor: 2 * DType.float32.unitRoundoff)
    }
    guard let tile = structure as? StrassenTile else { return items }
    let short = try [(level, 1), (level, 3), (.portable, 1)].map { level, threads in
      try tile.inBFloat16(
        x.reshaped(-1, inputs), shape, parameters, bias: bias, activation: item.activation,
        level: level, threads: threads)
    }
    let errors = try short.map { product in
      let difference = product.asType(.float64).reshaped(exact[0].shape) - exact[0]
      return Double(try abs(difference).max().item(Float.self))
    }
    let worst = errors[0] / (2 * errors[2])
    let same = try arrayEqual(short[0], short[1]).item(Bool.self)
    return items + [
      KernelCheck.Item(
        name: "\(item.spec) \(shape + [inputs, outputs]) \(level)", what: "product in bfloat16",
        worst: worst, isPassed: worst <= 1 && same)
    ]
  }
}

extension StrassenTile {
  /// The product at a level with planes and weights rounded to bfloat16.
  fileprivate func inBFloat16(
    _ x: MLXArray, _ shape: [Int], _ parameters: Parameters, bias: MLXArray?,
    activation: KernelActivation, level: CPU.Level, threads: Int
  ) throws -> MLXArray {
    let arrangement = Arrangement(shape + [inputs], tile: tile, rows: rows)
    guard
      let kernel = StrassenTileCPU(
        inputs: inputs, outputs: outputs, tile: tile, rank: rank, rows: arrangement.tileRows,
        level: level, threads: threads),
      let weight = parameters[Name.weight], let encoder = parameters[Name.encoder],
      let decoder = parameters[Name.decoder]
    else { throw KernelError("the CPU has no kernels for \(spec)") }
    return kernel(
      x, weight: weight, encoder: encoder, decoder: decoder, bias: bias, activation: activation,
      isShort: true)
  }

  /// The product, and the gradients of the rows and of the weight, at a level.
  fileprivate func onCPU(
    _ x: MLXArray, _ dy: MLXArray, _ shape: [Int], _ parameters: Parameters, bias: MLXArray?,
    activation: KernelActivation, level: CPU.Level, threads: Int
  ) throws -> [MLXArray] {
    let arrangement = Arrangement(shape + [inputs], tile: tile, rows: rows)
    func kernel(_ inputs: Int, _ outputs: Int) throws -> StrassenTileCPU {
      guard
        let kernel = StrassenTileCPU(
          inputs: inputs, outputs: outputs, tile: tile, rank: rank, rows: arrangement.tileRows,
          level: level, threads: threads)
      else { throw KernelError("the CPU has no kernels for \(spec)") }
      return kernel
    }
    guard let weight = parameters[Name.weight], let encoder = parameters[Name.encoder],
      let decoder = parameters[Name.decoder]
    else { throw KernelError("\(spec) has other parameters than expected") }
    let (forward, backward) = (try kernel(inputs, outputs), try kernel(outputs, inputs))
    func product(_ dy: MLXArray?) -> MLXArray {
      forward(
        x, weight: weight, encoder: encoder, decoder: decoder, bias: bias, activation: activation,
        dy: dy)
    }
    let dz = activation == .none ? dy : product(dy)
    let planes = forward.encoded(x, encoder, tiles: arrangement.tiles)
    let gradients = backward.encoded(dz, decoder, tiles: arrangement.tiles)
    return [
      product(nil),
      backward(dz, weight: weight, isTransposed: true, encoder: decoder, decoder: encoder),
      matmul(gradients.swappedAxes(1, 2), planes),
    ]
  }
}
