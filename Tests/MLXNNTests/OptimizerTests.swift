import Foundation
import MLX
import MLXNN
import MLXOptimizers
import OrderedCollections
import TestSupport
import Testing

@Suite struct OptimizerTests {
  private static let makers: [String: @Sendable () -> any Optimizer] = [
    "sgd": { SGD(learningRate: 0.1, weightDecay: 0.01) },
    "momentum": { SGD(learningRate: 0.1, momentum: 0.9) },
    "nesterov": { SGD(learningRate: 0.1, momentum: 0.9, weightDecay: 0.05, nesterov: true) },
    "adamw": { AdamW(learningRate: 0.01, weightDecay: 0.1) },
    "adamwGroups": {
      AdamW(learningRate: 0.01, betas: (0.8, 0.95), eps: 1e-6, weightDecay: 0.1) { path in
        path == "bias"
          ? ParameterGroup(weightDecay: false) : ParameterGroup(learningRateMultiplier: 3)
      }
    },
  ]

  private func model(_ golden: GoldenCase) throws -> Linear {
    Linear(weight: try golden("weight"), bias: try golden("bias"))
  }

  private func gradients(_ golden: GoldenCase, _ step: Int) throws -> ModuleParameters {
    ["weight": try golden("grad.weight")[step], "bias": try golden("grad.bias")[step]]
  }

  @Test(arguments: makers.keys.sorted())
  func trajectoriesAgreeWithPyTorch(_ name: String) throws {
    let golden = try GoldenCase.named(name, in: "optimizers")
    let model = try model(golden)
    let maker = try #require(Self.makers[name])
    let optimizer = maker()
    for step in 0..<10 {
      try optimizer.update(model: model, gradients: try gradients(golden, step))
      // Every step adds a few roundings.
      let tolerance = Tolerance.roundings(Double(8 * (step + 1)), of: .float32)
      try expectClose(model.weight, try golden("steps.weight")[step], tolerance)
      try expectClose(try #require(model.bias), try golden("steps.bias")[step], tolerance)
    }
  }

  @Test(arguments: ["nesterov", "adamwGroups"])
  func compiledTrajectoriesAreTheSame(_ name: String) throws {
    let golden = try GoldenCase.named(name, in: "optimizers")
    let (plain, compiled) = (try model(golden), try model(golden))
    let maker = try #require(Self.makers[name])
    let (first, second) = (maker(), maker())
    second.initialize(for: compiled)
    let step = compile(inputs: [compiled, second], outputs: [compiled, second]) { arguments in
      try second.update(
        model: compiled, gradients: ["weight": arguments[0], "bias": arguments[1]])
      return [MLXArray(0)]
    }
    for index in 0..<6 {
      // The rate is state, so a compiled step sees it change.
      first.learningRate = 0.1 / Float(index + 1)
      second.learningRate = 0.1 / Float(index + 1)
      let gradients = try gradients(golden, index)
      try first.update(model: plain, gradients: gradients)
      _ = try withError { step(Array(gradients.values)) }
      try eval(compiled, second)
      try expectClose(
        compiled.weight, plain.weight, .roundings(Double(8 * (index + 1)), of: .float32))
    }
  }

  @Test func smallChangesOfLowPrecisionAddUp() throws {
    let type = DType.bfloat16
    let model = Linear(weight: MLXArray.ones([2, 3], dtype: type))
    let optimizer = SGD(learningRate: 1)
    // 2⁻¹⁰ is below half a rounding step of bfloat16 at 1, which is 2⁻⁸ downwards.
    let gradients: ModuleParameters = ["weight": MLXArray.full([2, 3], values: MLXArray(0x1p-10))]
    for _ in 0..<64 { try optimizer.update(model: model, gradients: gradients) }
    #expect(model.weight.dtype == type)
    #expect(try model.weight.asArray(Float.self) == Array(repeating: 1 - 0x1p-4, count: 6))
    #expect(optimizer.state["weight.master"]?.dtype == .float32)
  }

  @Test func lowPrecisionFollowsTheFloat32Trajectory() throws {
    let golden = try GoldenCase.named("adamw", in: "optimizers")
    for type in [DType.bfloat16, .float16] {
      let model = try model(golden)
      try model.apply { $0.asType(type) }
      let optimizer = AdamW(learningRate: 0.01, weightDecay: 0.1)
      for step in 0..<10 {
        let low = try gradients(golden, step).mapValues { $0.asType(type) }
        try optimizer.update(model: model, gradients: low)
      }
      #expect(optimizer.state["weight.m"]?.dtype == .float32)
      // The start is rounded once, the end once, and Adam's steps hardly feel rounded gradients.
      try expectClose(
        model.weight, try golden("steps.weight")[9], .roundings(4, of: type))
    }
  }

  @Test(arguments: ["momentum", "adamwGroups"])
  func savedStateContinuesTheTrajectory(_ name: String) throws {
    let golden = try GoldenCase.named(name, in: "optimizers")
    let maker = try #require(Self.makers[name])
    let model = try model(golden)
    let optimizer = maker()
    for step in 0..<5 {
      try optimizer.update(model: model, gradients: try gradients(golden, step))
    }
    let weights = try model.parameters().mapValues {
      MLXArray(try $0.asArray(Float.self), $0.shape)
    }
    let state = optimizer.state.mapValues { $0 + 0 }

    let restored = try self.model(golden)
    try restored.update(parameters: weights)
    let other = maker()
    other.learningRate = 7
    try other.restore(state, for: restored)
    #expect(other.learningRate == optimizer.learningRate)
    for step in 5..<10 {
      try other.update(model: restored, gradients: try gradients(golden, step))
    }
    try expectClose(restored.weight, try golden("steps.weight")[9], .roundings(80, of: .float32))
  }

  @Test func aWrongStateThrowsAndChangesNothing() throws {
    let model = Linear(3, 2)
    let optimizer = AdamW(learningRate: 0.5)
    optimizer.initialize(for: model)
    #expect(
      Array(optimizer.state.keys) == [
        "step", "learningRate", "weight.m", "weight.v", "bias.m", "bias.v",
      ])
    var state = optimizer.state.mapValues { $0 + 1 }
    state["weight.v"] = MLXArray.zeros([3, 2])
    #expect(
      throws: OptimizerError.wrongState(key: "weight.v", expected: [2, 3], got: [3, 2])
    ) { try optimizer.restore(state, for: model) }
    state["weight.v"] = nil
    #expect(throws: OptimizerError.missingState(key: "weight.v")) {
      try optimizer.restore(state, for: model)
    }
    #expect(throws: OptimizerError.unknownState(key: "x")) {
      try optimizer.restore(["x": MLXArray(1)], for: model)
    }
    #expect(optimizer.learningRate == 0.5)
    #expect(try #require(optimizer.state["step"]).item(Int.self) == 0)
  }

  @Test func replacedLayersGetStateOfTheirOwn() throws {
    let model = Sequential(layers: Linear(3, 2), Linear(2, 4))
    let optimizer = AdamW(learningRate: 0.1)
    optimizer.initialize(for: model)
    let kept = optimizer.state["layers.0.weight.m"]
    try model.update(modules: ["layers.1": Linear(2, 5, bias: false)])
    optimizer.initialize(for: model)
    #expect(optimizer.state["layers.0.weight.m"] === kept)
    #expect(optimizer.state["layers.1.weight.v"]?.shape == [5, 2])
    #expect(optimizer.state["layers.1.bias.m"] == nil)
  }

  @Test func wrongGradientsThrowAndChangeNothing() throws {
    let model = Linear(3, 2)
    let optimizer = SGD(learningRate: 1)
    let before = try model.weight.asArray(Float.self)
    let good = MLXArray.ones([2, 3])
    #expect(throws: OptimizerError.unknownGradient(path: "wait")) {
      try optimizer.update(model: model, gradients: ["weight": good, "wait": good])
    }
    #expect(throws: OptimizerError.wrongGradient(path: "bias", expected: [2], got: [2, 3])) {
      try optimizer.update(model: model, gradients: ["weight": good, "bias": good])
    }
    #expect(throws: MLXError.self) {
      try optimizer.update(
        model: model, gradients: ["weight": good, "bias": matmul(good, good)])
    }
    #expect(try model.weight.asArray(Float.self) == before)
  }

  @Test func aCompiledTrainingStepLearns() throws {
    let keys = MLXRandom.split(key: MLXRandom.key(5), into: 4)
    let teacher = Linear(4, 2, key: keys[0])
    let x = MLXRandom.normal([32, 4], key: keys[1])
    let y = teacher(x)
    let student = Sequential(layers: Linear(4, 8, key: keys[2]), Tanh(), Linear(8, 2, key: keys[3]))
    let optimizer = AdamW(learningRate: 0.02, weightDecay: 0)
    optimizer.initialize(for: student)
    let loss = valueAndGrad(model: student) { model, x, y in
      mseLoss(predictions: model(x), targets: y)
    }
    let step = compile(inputs: [student, optimizer], outputs: [student, optimizer]) { arguments in
      let (loss, gradients) = loss(student, arguments[0], arguments[1])
      let (clipped, norm) = clipGradNorm(gradients: gradients, maxNorm: 1)
      try optimizer.update(model: student, gradients: clipped)
      return [loss, norm]
    }
    let first = try step([x, y])[0].item(Float.self)
    var last = first
    for _ in 0..<150 { last = try step([x, y])[0].item(Float.self) }
    #expect(last < first / 50)
    // A failing step leaves the model as it was.
    let before = try student.parameters().values.map { try $0.asArray(Float.self) }
    #expect(step([x.T, y])[0].failure != nil)
    #expect(try student.parameters().values.map { try $0.asArray(Float.self) } == before)
    #expect(try step([x, y])[0].item(Float.self) <= first)
  }
}

@Suite struct ScheduleTests {
  @Test func schedulesAgreeWithPyTorch() throws {
    let golden = try golden("schedules", as: [String: [Double]].self)
    let ours: [String: Schedule] = [
      "constant": .constant(0.1),
      "linear": .linear(from: 0.02, to: 0.05, steps: 6),
      "cosine": .cosine(from: 0.1, to: 0.01, steps: 12),
      "exponential": .exponential(from: 0.1, factor: 0.9),
      "step": .step(from: 0.1, factor: 0.5, every: 4),
      "joined": .joined(
        [.constant(0.025), .exponential(from: 0.1, factor: 0.8)], boundaries: [5]),
    ]
    #expect(Set(golden.keys) == Set(ours.keys))
    for (name, expected) in golden {
      let schedule = try #require(ours[name])
      expectClose(
        expected.indices.map { Double(schedule($0)) }, expected, .roundings(4, of: .float32))
    }
  }

  @Test func schedulesStayAtTheirEnd() {
    #expect(Schedule.linear(from: 1, to: 2, steps: 4)(100) == 2)
    #expect(Schedule.cosine(from: 1, to: 0.5, steps: 4)(100) == 0.5)
    #expect(Schedule.cosine(from: 1, to: 0.5, steps: 0)(0) == 0.5)
    #expect(Schedule.joined([], boundaries: [])(3) == 0)
  }

  @Test func warmUpReachesThePeakAtItsEnd() {
    let schedule = Schedule.linearWarmUp(steps: 4, then: .cosine(from: 0.8, steps: 10))
    #expect((0...4).map { schedule($0) } == [0, 0.2, 0.4, 0.6, 0.8])
    #expect(schedule(14) == 0)
    let stable = Schedule.warmUpStableDecay(peak: 1, warmUp: 2, stable: 3, decay: 4)
    #expect((0..<11).map { stable($0) } == [0, 0.5, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0])
  }
}

@Suite struct ClippingTests {
  @Test(arguments: ["above", "below"])
  func clippingAgreesWithPyTorch(_ name: String) throws {
    let golden = try GoldenCase.named(name, in: "clipping")
    let (clipped, norm) = clipGradNorm(
      gradients: ["first": try golden("first"), "second": try golden("second")],
      maxNorm: name == "above" ? 1 : 100)
    let tolerance = Tolerance.roundings(8, of: .float32)
    try expectClose(norm, try golden("norm"), tolerance)
    #expect(Array(clipped.keys) == ["first", "second"])
    for (path, gradient) in clipped {
      try expectClose(gradient, try golden("clipped.\(path)"), tolerance)
    }
  }

  @Test func clippingKeepsTypesAndToleratesNothing() throws {
    let low = MLXArray.full([4], values: MLXArray(100.0), dtype: .bfloat16)
    let (clipped, norm) = clipGradNorm(gradients: ["a": low], maxNorm: 2)
    #expect(clipped["a"]?.dtype == .bfloat16 && norm.dtype == .float32)
    #expect(try #require(clipped["a"]).asArray(Float.self) == [1, 1, 1, 1])
    #expect(try clipGradNorm(gradients: [:], maxNorm: 1).1.item(Float.self) == 0)
  }
}
