import Kernels
import MLX
import MLXNN
import Operators
import OrderedCollections
import TestSupport
import Testing

@testable import Layers

/// Layers that read one input and encode it once.
@Suite struct SharedInputTests {
  /// Query, key and value, the latter two narrower, and a dense layer among them.
  private final class Projections: Module {
    @ModuleInfo var query: any UnaryLayer
    @ModuleInfo var key: any UnaryLayer
    @ModuleInfo var dense: any UnaryLayer
    @ModuleInfo var value: any UnaryLayer

    init(_ specs: [String]) throws {
      func layer(_ spec: String, _ outputs: Int, _ seed: UInt64) throws -> StructuredLinear {
        let layer = try StructuredLinear(
          OperatorSpec(parsing: spec), inputs: 18, outputs: outputs, key: MLXRandom.key(seed))
        try layer.update(
          parameters: [(key: "bias", value: MLXRandom.normal([outputs], key: MLXRandom.key(seed)))],
          verify: .noUnusedKeys)
        return layer
      }
      _query.wrappedValue = try layer(specs[0], 18, 1)
      _key.wrappedValue = try layer(specs[1], 6, 2)
      _dense.wrappedValue = Linear(weight: MLXRandom.normal([4, 18], key: MLXRandom.key(3)))
      _value.wrappedValue = try layer(specs[2], 7, 4)
    }

    var all: [any UnaryLayer] { [query, key, dense, value] }
  }

  /// A type without kernels on a CPU, where the composed operations share.
  private let x = MLXRandom.normal([5, 3, 18], key: MLXRandom.key(9)).asType(.float64)

  private func projections(
    _ specs: [String], sharing: Bool, dtype: DType = .float64
  ) throws -> Projections {
    let model = try Projections(specs)
    try model.apply { $0.asType(dtype) }
    if sharing { try model.shareEncoders() }
    return model
  }

  @Test(arguments: ["sequence", "batch", "flat"])
  func oneEncodingGivesWhatThreeGive(_ policy: String) throws {
    let specs = [String](repeating: "stl:rank=24,rows=\(policy)", count: 3)
    let apart = try projections(specs, sharing: false)
    let together = try projections(specs, sharing: true)
    #expect(sharedEncodings(of: apart.all, reading: x).isEmpty)
    #expect(sharedEncodings(of: together.all, reading: x).map { $0.map(\.index) } == [[0, 1, 3]])
    let activations: [KernelActivation] = [.none, .silu, .gelu, .none]
    let expected = zip(apart.all, activations).map { $1($0(x)) }
    let got = outputs(of: Array(zip(together.all, activations)), reading: x)
    #expect(got.map(\.shape) == [[5, 3, 18], [5, 3, 6], [5, 3, 4], [5, 3, 7]])
    for (ours, theirs) in zip(got, expected) {
      #expect(try arrayEqual(ours, theirs).item(Bool.self))
    }
    let plain = outputs(of: together.all, reading: x)
    #expect(try arrayEqual(plain[3], apart.value(x)).item(Bool.self))
  }

  @Test func onlyEqualEncodersOfOnePolicyShare() throws {
    let model = try projections(
      ["stl:rank=24", "stl:rank=16", "stl:rank=24,rows=flat"], sharing: true)
    #expect(sharedEncodings(of: model.all, reading: x).isEmpty)
    let two = try projections(["stl:rank=16", "lowrank:rank=2", "stl:rank=16"], sharing: true)
    #expect(sharedEncodings(of: two.all, reading: x).map { $0.map(\.index) } == [[0, 3]])
    let failed = MLXArray(failure: MLXError("none"))
    #expect(sharedEncodings(of: two.all, reading: failed).isEmpty)
    #expect(outputs(of: two.all, reading: failed).allSatisfy { $0.failure != nil })
  }

  @Test func trainingAnEncoderEndsTheSharing() throws {
    let specs = [String](repeating: "stl:rank=24", count: 3)
    let model = try projections(specs, sharing: true)
    #expect(model.parameters().keys.count { $0.hasSuffix("stl.encoder") } == 3)
    let path = "key.stl.encoder"
    let changed = try #require(model.parameters()[path]) * 2
    try model.update(parameters: [(key: path, value: changed)], verify: .noUnusedKeys)
    #expect(sharedEncodings(of: model.all, reading: x).map { $0.map(\.index) } == [[0, 3]])
    for (layer, output) in zip(model.all, outputs(of: model.all, reading: x)) {
      #expect(try arrayEqual(output, layer(x)).item(Bool.self))
    }
  }

  @Test(arguments: [true, false])
  func gradientsAreThoseOfLayersApart(frozen: Bool) throws {
    let specs = [String](repeating: "stl:rank=24", count: 3)
    let weights = MLXRandom.normal([5, 3, 7], key: MLXRandom.key(8))
    func gradients(sharing: Bool) throws -> ModuleParameters {
      let model = try projections(specs, sharing: sharing)
      if frozen { try model.freeze(keys: ["stl.encoder", "stl.decoder"]) }
      let (_, gradients) = valueAndGrad(model: model) { (model: Projections, x, _) in
        // Frozen encoders stay one array; those that are trained are told apart.
        #expect(sharedEncodings(of: model.all, reading: x).isEmpty == !(sharing && frozen))
        let y = outputs(of: model.all, reading: x)
        return mean(y[0]) + mean(y[1] * y[1]) + mean(y[3].asType(.float32) * weights)
      }(model, x, x)
      try eval(Array(gradients.values))
      return gradients
    }
    let (ours, theirs) = (try gradients(sharing: true), try gradients(sharing: false))
    #expect(ours.keys == theirs.keys && !ours.isEmpty)
    for (path, gradient) in ours {
      #expect(try arrayEqual(gradient, theirs[path] ?? gradient * 2).item(Bool.self), "\(path)")
    }
  }
}
