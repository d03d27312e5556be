import Kernels
import MLX
import OrderedCollections
import TestSupport
import Testing

@testable import Operators

/// The CPU's kernels against the composed operations that define them.
@Suite struct CPUKernelTests {
  /// Every chain of the zoo, and sizes beyond one panel and one block of rows.
  static let chains =
    Specimen.zoo.filter { specimen in
      ["monarch", "btt", "ks"].contains { specimen.spec.hasPrefix($0) }
    } + [
      Specimen("btt:rank=3", 70, 90), Specimen("monarch:blocks=2", 64, 64),
    ]

  static let tiles = [
    Specimen("stl:rank=24", 13, 22), Specimen("stl:rank=49", 16, 16),
    Specimen("stl:rank=7,tile=2", 9, 5), Specimen("stl:rank=24,rows=batch", 12, 7),
    Specimen("stl:rank=16,rows=flat", 150, 205), Specimen("stl:rank=23,tile=3", 10, 11),
  ]

  static let leading = [[1], [5], [63], [2, 3], [3, 17], [2, 1, 4]]

  @Test(arguments: chains + tiles)
  func kernelsAgreeWithTheDefinition(_ specimen: Specimen) throws {
    try Device.withDefaultDevice(.cpu) {
      let operation = try specimen.make()
      let parameters = randomParameters(of: operation, seed: 1)
      let bias = MLXRandom.normal([specimen.outputs], key: MLXRandom.key(9))
      for shape in Self.leading {
        let x = MLXRandom.normal(shape + [specimen.inputs], key: MLXRandom.key(2))
        for (bias, activation) in [
          (nil, KernelActivation.none), (bias, .silu), (bias, .gelu), (nil, .geluTanh),
          (bias, .none),
        ] {
          let y = operation.kernelProduct(x, parameters, bias: bias, activation: activation)
          try expectClose(
            y,
            operation.referenceProduct(x, parameters, bias: bias, activation: activation),
            .roundings(64, of: .float32))
        }
      }
    }
  }

  @Test func theCheckForUsersPasses() throws {
    let check = try CPUCheck()
    #expect(check.isPassed && !check.items.isEmpty)
  }

  /// Nothing to compute, and inputs of another type or shape, are the definition's.
  @Test(arguments: [chains[0], tiles[0]])
  func whatTheKernelsDoNotDoIsComposed(_ specimen: Specimen) throws {
    try Device.withDefaultDevice(.cpu) {
      let operation = try specimen.make()
      let parameters = randomParameters(of: operation, seed: 3)
      func product(_ x: MLXArray) -> MLXArray {
        operation.kernelProduct(x, parameters, bias: nil, activation: .none)
      }
      #expect(product(.zeros([0, specimen.inputs])).shape == [0, specimen.outputs])
      let wide = MLXArray.ones([3, specimen.inputs]).asType(.float64)
      #expect(product(wide).dtype == operation.apply(wide, parameters).dtype)
      #expect(product(.zeros([3, specimen.inputs + 1])).failure != nil)
    }
  }

  /// Numbers of two bytes are rounded once, at the end: nearer to the exact product than composed
  /// operations, which round every intermediate.
  @Test(arguments: [chains[0], chains[4], tiles[0], tiles[3]], [DType.bfloat16, .float16])
  func shortNumbersAreRoundedOnce(_ specimen: Specimen, _ type: DType) throws {
    try Device.withDefaultDevice(.cpu) {
      let operation = try specimen.make()
      let parameters = randomParameters(of: operation, seed: 13).mapValues { $0.asType(type) }
      let x = MLXRandom.normal([2, 9, specimen.inputs], key: MLXRandom.key(14)).asType(type)
      let bias = MLXRandom.normal([specimen.outputs], key: MLXRandom.key(15)).asType(type)
      let y = operation.kernelProduct(x, parameters, bias: bias, activation: .none)
      #expect(y.dtype == type)
      let exact = operation.referenceProduct(
        x.asType(.float32), parameters.mapValues { $0.asType(.float32) },
        bias: bias.asType(.float32), activation: .none)
      try expectClose(y.asType(.float32), exact, .roundings(1, of: type))
    }
  }

  /// Planes of bfloat16, at every level: not further from the exact product than twice what composed
  /// operations of that type are, the same for any number of threads, and for a weight stored transposed.
  @Test(arguments: CPU.Level.allCases.filter { $0 <= CPU.level })
  func planesOfBFloat16AreAsGoodAsTheDefinitions(_ level: CPU.Level) throws {
    try Device.withDefaultDevice(.cpu) {
      for specimen in Self.tiles {
        let tile = try #require(try specimen.make() as? StrassenTile)
        let parameters = randomParameters(of: tile, seed: 8).mapValues { $0.asType(.bfloat16) }
        let x = MLXRandom.normal([3, 70, specimen.inputs], key: MLXRandom.key(9)).asType(.bfloat16)
        let wide = parameters.mapValues { $0.asType(.float32) }
        let exact = tile.apply(x.asType(.float32), wide)
        let composed = tile.apply(x, parameters).asType(.float32)
        let allowed = 2 * (try abs(composed - exact).max().item(Float.self))
        let rows = StrassenTile.Arrangement(x.shape, tile: tile.tile, rows: tile.rows).tileRows
        let arrays = try ["weight", "encoder", "decoder"].map { try #require(wide[$0]) }
        var first: [Float]?
        for (threads, isTransposed) in [(1, false), (2, true), (3, false), (4, false)] {
          let kernel = try #require(
            StrassenTileCPU(
              inputs: tile.inputs, outputs: tile.outputs, tile: tile.tile, rank: tile.rank,
              rows: rows, level: level, threads: threads))
          let y = kernel(
            x.asType(.float32).reshaped(-1, tile.inputs),
            weight: isTransposed ? arrays[0].swappedAxes(1, 2) : arrays[0],
            isTransposed: isTransposed, encoder: arrays[1], decoder: arrays[2], isShort: true)
          let error = try abs(y.reshaped(exact.shape) - exact).max().item(Float.self)
          #expect(error > 0 && error <= allowed)
          let values = try y.asArray(Float.self)
          if let first { #expect(values == first) } else { first = values }
        }
      }
    }
  }

  @Test(arguments: Array((chains + tiles).enumerated()))
  func gradientsAgreeWithTheDefinition(_ number: Int, _ specimen: Specimen) throws {
    let activation = KernelActivation.allCases[number % KernelActivation.allCases.count]
    try Device.withDefaultDevice(.cpu) {
      let operation = try specimen.make()
      let parameters = randomParameters(of: operation, seed: 4)
      let names = trained(parameters)
      let x = MLXRandom.normal([2, 9, specimen.inputs], key: MLXRandom.key(5))
      let bias = MLXRandom.normal([specimen.outputs], key: MLXRandom.key(6))
      let probe = MLXRandom.normal([2, 9, specimen.outputs], key: MLXRandom.key(7))
      func gradients(_ byKernels: Bool) throws -> [MLXArray] {
        let arguments = [x, bias] + names.compactMap { parameters[$0] }
        return try valueAndGrad(arguments, argumentNumbers: Array(arguments.indices)) { all in
          var moved = parameters
          for (name, array) in zip(names, all.dropFirst(2)) { moved[name] = array }
          let y =
            byKernels
            ? operation.kernelProduct(all[0], moved, bias: all[1], activation: activation)
            : operation.referenceProduct(all[0], moved, bias: all[1], activation: activation)
          return [mean(probe * tanh(y))]
        }.gradients
      }
      for (fast, slow) in zip(try gradients(true), try gradients(false)) {
        try expectClose(fast, slow, .roundings(128, of: .float32))
      }
    }
  }

  /// Every level that this processor has, and thread counts beyond its processors.
  @Test(arguments: CPU.Level.allCases.filter { $0 <= CPU.level })
  func levelsAgreeAndThreadsChangeNothing(_ level: CPU.Level) throws {
    try Device.withDefaultDevice(.cpu) {
      for specimen in Self.tiles {
        let tile = try #require(try specimen.make() as? StrassenTile)
        let parameters = randomParameters(of: tile, seed: 8)
        let x = MLXRandom.normal([3, 150, specimen.inputs], key: MLXRandom.key(9))
        let rows = StrassenTile.Arrangement(x.shape, tile: tile.tile, rows: tile.rows).tileRows
        let results = try [1, 2, 3, 4].map { threads in
          let kernel = try #require(
            StrassenTileCPU(
              inputs: tile.inputs, outputs: tile.outputs, tile: tile.tile, rank: tile.rank,
              rows: rows, level: level, threads: threads))
          let arrays = ["weight", "encoder", "decoder"].compactMap { parameters[$0] }
          return kernel(
            x.reshaped(-1, tile.inputs), weight: arrays[0], encoder: arrays[1],
            decoder: arrays[2])
        }
        try expectClose(
          results[0], tile.apply(x, parameters).reshaped(-1, tile.outputs),
          .roundings(64, of: .float32))
        for other in results.dropFirst() {
          #expect(try other.asArray(Float.self) == results[0].asArray(Float.self))
        }
      }
      for specimen in Self.chains {
        let operation = try #require(try specimen.make() as? any ChainOperator)
        let parameters = randomParameters(of: operation, seed: 8)
        let x = MLXRandom.normal([150, specimen.inputs], key: MLXRandom.key(9))
        let chain = operation.chain
        let results = try [1, 2, 3, 4].map { threads in
          let kernel = try #require(
            FactorChainCPU(
              rows: 150, inputs: specimen.inputs, outputs: specimen.outputs,
              widths: chain.widths, factors: chain.factors, level: level, threads: threads))
          return kernel(x, weights: operation.chainWeights(parameters))
        }
        try expectClose(
          results[0], operation.apply(x, parameters), .roundings(64, of: .float32))
        for other in results.dropFirst() {
          #expect(try other.asArray(Float.self) == results[0].asArray(Float.self))
        }
      }
    }
  }

  /// Gradients of weights are sums over rows: in parts that no number of threads changes.
  @Test(arguments: CPU.Level.allCases.filter { $0 <= CPU.level })
  func gradientsOfChainsAgreeAndThreadsChangeNothing(_ level: CPU.Level) throws {
    try Device.withDefaultDevice(.cpu) {
      for (specimen, rows) in Self.chains.enumerated().map({ ($1, [700, 1, 33, 150][$0 % 4]) }) {
        let operation = try #require(try specimen.make() as? any ChainOperator)
        let parameters = randomParameters(of: operation, seed: 8)
        let weights = operation.chainWeights(parameters)
        let x = MLXRandom.normal([rows, specimen.inputs], key: MLXRandom.key(9))
        let dy = MLXRandom.normal([rows, specimen.outputs], key: MLXRandom.key(10))
        let results = try [1, 2, 3, 4].map { threads in
          try #require(
            FactorChainCPU(
              rows: rows, inputs: specimen.inputs, outputs: specimen.outputs,
              widths: operation.chain.widths, factors: operation.chain.factors, level: level,
              threads: threads)
          ).gradients(x, dy, weights: weights)
        }.map { [$0.x] + $0.weights }
        // Dense: dX = dY W, and dW as the gradient of the sum of dY · Y by its definition.
        let names = trained(parameters)
        // With normalised cores the chain's weights are not the parameters.
        guard names.count == weights.count else { continue }
        let expected = try vjp(
          { all in
            var moved = parameters
            for (name, array) in zip(names, all.dropFirst()) { moved[name] = array }
            return [operation.apply(all[0], moved)]
          }, primals: [x] + names.compactMap { parameters[$0] }, cotangents: [dy]
        ).gradients
        #expect(expected.count == results[0].count)
        for (fast, slow) in zip(results[0], expected) {
          try expectClose(fast, slow, .roundings(256, of: .float32))
        }
        for other in results.dropFirst() {
          for (a, b) in zip(other, results[0]) {
            #expect(try a.asArray(Float.self) == b.asArray(Float.self))
          }
        }
      }
    }
  }

  /// Lazy evaluation, compilation and repeated use go on working.
  @Test func kernelsAreOrdinaryOperations() throws {
    try Device.withDefaultDevice(.cpu) {
      let operation = try Specimen("btt:rank=2", 24, 24).make()
      let parameters = randomParameters(of: operation, seed: 10)
      let step = { (x: MLXArray) in
        operation.kernelProduct(x, parameters, bias: nil, activation: .none)
      }
      let twice = compile { (inputs: [MLXArray]) in [step(step(inputs[0]) * 0.5)] }
      let x = MLXRandom.normal([40, 24], key: MLXRandom.key(11))
      let expected = operation.apply(operation.apply(x, parameters) * 0.5, parameters)
      for _ in 0..<2 {
        try expectClose(
          #require(twice([x]).first), expected, .roundings(64, of: .float32))
      }
      // Not contiguous: copied first.
      try expectClose(
        step(MLXRandom.normal([24, 40], key: MLXRandom.key(12)).transposed()),
        operation.apply(
          MLXRandom.normal([24, 40], key: MLXRandom.key(12)).transposed(), parameters),
        .roundings(64, of: .float32))
    }
  }

  /// The choice says what it expects of each path, and takes the best of those that are there.
  @Test(arguments: ["stl:rank=16", "monarch:blocks=16", "btt:rank=1"])
  func theChoiceIsTheLeastPrediction(_ spec: String) throws {
    try Device.withDefaultDevice(.cpu) {
      let operation = try Specimen(spec, 512, 512).make()
      for rows in [1, 16, 4096] {
        for keepsDense in [false, true] {
          let choice = operation.choice(
            shape: [rows, 512], dtype: .float32, keepsDense: keepsDense)
          let paths = choice.predictions.filter { keepsDense || $0.key != .dense }
          #expect(choice.predictions.count == 3 && choice.reason.contains(" ms"))
          #expect(paths.values.min() == choice.predictions[choice.path])
        }
      }
      #expect(
        operation.choice(shape: [4096, 512], dtype: .float32, keepsDense: false).path == .kernels)
      #expect(
        operation.choice(shape: [9, 512], dtype: .float64, keepsDense: false).path == .reference)
    }
  }
}
