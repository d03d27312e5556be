import MLX
import MLXNN
import OrderedCollections
import TestSupport
import Testing

/// Expects a layer, or a function, to give PyTorch's output, and its gradients with respect to the
/// inputs and all parameters.
private func expectGolden(
  _ name: String, in file: String, inputs: [String], module: Module? = nil,
  tolerance: Tolerance = .roundings(32, of: .float32),
  sourceLocation: SourceLocation = #_sourceLocation,
  _ forward: @escaping ([MLXArray]) -> MLXArray
) throws {
  let golden = try GoldenCase.named(name, in: file)
  let paths = module.map { Array($0.parameters().keys) } ?? []
  if let module {
    let values = try paths.map { ($0, try golden($0)) }
    try module.update(parameters: ModuleParameters(uniqueKeysWithValues: values))
  }
  let output = forward(try inputs.map { try golden($0) })
  try expectClose(output, try golden("output"), tolerance, sourceLocation: sourceLocation)

  let names = inputs + paths
  let trained = names.filter { golden.names.contains("grad.\($0)") }
  #expect(!trained.isEmpty, sourceLocation: sourceLocation)
  let cotangent = try golden("cotangent")
  let numbers = names.indices.filter { trained.contains(names[$0]) }
  let (_, gradients) = try valueAndGrad(
    try names.map { try golden($0) }, argumentNumbers: numbers
  ) { all in
    let values = zip(paths, all[inputs.count...]).map { ($0, $1) }
    try module?.update(parameters: ModuleParameters(uniqueKeysWithValues: values))
    return [sum(forward(Array(all[..<inputs.count])) * cotangent)]
  }
  for (name, gradient) in zip(trained, gradients) {
    try expectClose(
      gradient, try golden("grad.\(name)"), tolerance, sourceLocation: sourceLocation)
  }
}

@Suite struct LayerTests {
  @Test func linearAgreesWithPyTorch() throws {
    let layer = Linear(5, 4)
    #expect(layer.weight.shape == [4, 5] && layer.bias?.shape == [4])
    #expect(layer.inputDimensions == 5 && layer.outputDimensions == 4)
    try expectGolden("linear", in: "layers", inputs: ["x"], module: layer) { layer($0[0]) }
  }

  @Test func linearWithoutBiasIsTheProduct() throws {
    let layer = Linear(5, 4, bias: false, key: MLXRandom.key(0))
    #expect(layer.bias == nil)
    let x = MLXRandom.normal([2, 3, 5], key: MLXRandom.key(1))
    #expect(layer(x).shape == [2, 3, 4])
    try expectClose(layer(x), matmul(x, layer.weight.T), .roundings(4, of: .float32))
  }

  @Test func linearBeginsInsideItsBounds() throws {
    let layer = Linear(16, 200, key: MLXRandom.key(0))
    let largest = try abs(layer.weight).max().item(Float.self)
    #expect(largest <= 0.25 && largest > 0.24)
    let same = Linear(16, 200, key: MLXRandom.key(0))
    #expect(try arrayEqual(layer.weight, same.weight).item(Bool.self))
  }

  @Test func layerNormAgreesWithPyTorch() throws {
    let layer = LayerNorm(dimensions: 6, eps: 1e-12)
    try expectGolden("layerNorm", in: "layers", inputs: ["x"], module: layer) { layer($0[0]) }
  }

  @Test func rmsNormAgreesWithPyTorch() throws {
    let layer = RMSNorm(dimensions: 6, eps: 1e-5)
    try expectGolden("rmsNorm", in: "layers", inputs: ["x"], module: layer) { layer($0[0]) }
  }

  @Test func embeddingAgreesWithPyTorch() throws {
    let layer = Embedding(embeddingCount: 7, dimensions: 3)
    #expect(layer.weight.shape == [7, 3])
    try expectGolden("embedding", in: "layers", inputs: ["x"], module: layer) {
      layer($0[0].asType(.int32))
    }
    let x = MLXRandom.normal([2, 3], key: MLXRandom.key(0))
    try expectClose(layer.asLinear(x), matmul(x, layer.weight.T), .roundings(4, of: .float32))
  }

  @Test func activationsAgreeWithPyTorch() throws {
    let layers: [(String, any UnaryLayer)] = [
      ("gelu", GELU()), ("geluApproximate", GELU(approximation: .tanh)), ("silu", SiLU()),
      ("relu", ReLU()), ("tanh", Tanh()),
    ]
    for (name, layer) in layers {
      try expectGolden(name, in: "layers", inputs: ["x"]) { layer($0[0]) }
    }
  }

  @Test(arguments: [DType.bfloat16, .float16])
  func layersKeepLowPrecision(_ type: DType) throws {
    let layers: [any UnaryLayer] = [
      Linear(4, 4), Linear(4, 4, bias: false), LayerNorm(dimensions: 4), RMSNorm(dimensions: 4),
      GELU(), GELU(approximation: .tanh), SiLU(), ReLU(), Tanh(), Dropout(), RoPE(dimensions: 4),
    ]
    let x = MLXRandom.normal([1, 3, 4], key: MLXRandom.key(0)).asType(type)
    for layer in layers {
      try layer.apply { $0.asType(type) }
      let y = layer(x)
      try y.eval()
      #expect(y.dtype == type && y.shape == [1, 3, 4], "\(layer)")
    }
  }

  @Test func attentionAgreesWithPyTorch() throws {
    let layer = MultiHeadAttention(dimensions: 6, numHeads: 2, bias: true)
    let mask = try GoldenCase.named("attention", in: "layers")("mask").asType(.bool)
    // The gradient of the keys' bias is zero, and its roundings are those of much larger terms.
    try expectGolden(
      "attention", in: "layers", inputs: ["queries", "keys"], module: layer,
      tolerance: .absolute(4e-6)
    ) {
      layer($0[0], keys: $0[1], values: $0[1], mask: .array(mask))
    }
  }

  @Test func causalMasksAgree() throws {
    let layer = MultiHeadAttention(dimensions: 6, numHeads: 3)
    let x = MLXRandom.normal([2, 5, 6], key: MLXRandom.key(0))
    let added = MultiHeadAttention.createAdditiveCausalMask(5)
    #expect(added.shape == [5, 5])
    try expectClose(
      layer(x, keys: x, values: x, mask: .array(added)),
      layer(x, keys: x, values: x, mask: .causal), .roundings(16, of: .float32))
    for type in [DType.float16, .bfloat16] {
      let mask = MultiHeadAttention.createAdditiveCausalMask(3, dtype: type)
      #expect(try all(isFinite(mask)).item(Bool.self))
    }
  }

  @Test func headsThatDoNotDivideFail() {
    let layer = MultiHeadAttention(dimensions: 6, numHeads: 4)
    let x = MLXArray.ones([1, 2, 6])
    #expect(layer(x, keys: x, values: x).failure != nil)
  }

  @Test func rotatingByPositionsKeepsRelativeProducts() throws {
    for traditional in [false, true] {
      let rope = RoPE(dimensions: 8, traditional: traditional)
      let x = MLXRandom.normal([1, 3, 8], key: MLXRandom.key(0))
      let products = { (offset: Int) -> MLXArray in
        let y = rope(x, offset: offset)
        return matmul(y, y.transposed(0, 2, 1))
      }
      try expectClose(products(11), products(0), .roundings(64, of: .float32))
      try expectClose(rope(x)[0..., 0], x[0..., 0], .roundings(1, of: .float32))
    }
  }

  @Test func dropoutKeepsTheMeanAndDrawsAnew() throws {
    let layer = Dropout(p: 0.25, key: MLXRandom.key(0))
    let x = MLXArray.ones([20_000])
    let first = try layer(x).asArray(Float.self)
    let second = try layer(x).asArray(Float.self)
    #expect(Set(first) == [0, 4 / 3 as Float])
    #expect(first != second)
    // Five standard deviations of the share of zeros are 0.015.
    let zeros = Double(first.count { $0 == 0 }) / 20_000
    #expect(zeros > 0.235 && zeros < 0.265)
    let same = Dropout(p: 0.25, key: MLXRandom.key(0))
    #expect(try same(x).asArray(Float.self) == first)
    layer.train(false)
    #expect(layer(x) === x)
    #expect(Dropout(p: 1.5)(x).failure != nil)
    let untouched = MLXRandom.key(3)
    _ = Dropout(key: untouched)(x)
    #expect(try arrayEqual(untouched, MLXRandom.key(3)).item(Bool.self))
  }

  @Test func compiledDropoutDrawsAnew() throws {
    let layer = Dropout(p: 0.5, key: MLXRandom.key(0))
    let compiled = compile(inputs: [layer], outputs: [layer]) { [layer($0[0])] }
    let x = MLXArray.ones([64])
    let first = try compiled([x])[0].asArray(Float.self)
    #expect(try compiled([x])[0].asArray(Float.self) != first)
  }

  @Test func sequentialAppliesItsLayersInOrder() throws {
    let model = Sequential(layers: Linear(3, 5), ReLU(), Linear(5, 2))
    #expect(
      Array(model.parameters().keys) == [
        "layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias",
      ])
    let x = MLXRandom.normal([4, 3], key: MLXRandom.key(0))
    try expectClose(
      model(x), model.layers[2](relu(model.layers[0](x))), .roundings(1, of: .float32))
    try model.update(modules: ["layers.1": Tanh()])
    #expect(model.layers[1] is Tanh)
  }
}

@Suite struct LossTests {
  @Test func crossEntropyAgreesWithPyTorch() throws {
    try expectGolden("classes", in: "losses", inputs: ["logits", "targets"]) {
      crossEntropy(logits: $0[0], targets: $0[1].asType(.int32))
    }
    try expectGolden("smoothed", in: "losses", inputs: ["logits", "targets"]) {
      crossEntropy(
        logits: $0[0], targets: $0[1].asType(.int32), labelSmoothing: 0.2, reduction: .mean)
    }
    try expectGolden("probabilities", in: "losses", inputs: ["logits", "targets"]) {
      crossEntropy(logits: $0[0], targets: $0[1], labelSmoothing: 0.1, reduction: .mean)
    }
  }

  @Test func crossEntropyWeighsExamplesInFloat32() throws {
    let logits = MLXRandom.normal([3, 5], key: MLXRandom.key(0)).asType(.bfloat16)
    let targets = MLXArray([1, 0, 4])
    let plain = crossEntropy(logits: logits, targets: targets)
    #expect(plain.dtype == .float32 && plain.shape == [3])
    let weights = MLXArray([0, 2, 1] as [Float])
    let weighed = crossEntropy(logits: logits, targets: targets, weights: weights, reduction: .sum)
    try expectClose(weighed, sum(plain * weights), .roundings(4, of: .float32))
  }

  @Test func otherLossesAgreeWithPyTorch() throws {
    try expectGolden("mse", in: "losses", inputs: ["a", "b"]) {
      mseLoss(predictions: $0[0], targets: $0[1])
    }
    try expectGolden("cosine", in: "losses", inputs: ["a", "b"]) {
      cosineSimilarityLoss(x1: $0[0], x2: $0[1])
    }
    try expectGolden("kl", in: "losses", inputs: ["a", "b"]) {
      klDivLoss(inputs: $0[0], targets: $0[1])
    }
  }

  @Test func mismatchedPredictionsFail() {
    let loss = mseLoss(predictions: MLXArray.ones([3, 1]), targets: MLXArray.ones([3]))
    #expect(loss.failure?.description.contains("[3, 1] and [3]") == true)
  }

  @Test func lossGradientsAgreeWithDifferences() throws {
    let logits = MLXRandom.normal([3, 4], key: MLXRandom.key(0))
    try expectGradient(
      of: {
        crossEntropy(
          logits: $0[0], targets: MLXArray([1, 3, 0]), labelSmoothing: 0.1, reduction: .mean)
      }, at: [logits])
  }
}
