import MLX
import MLXNN
import OrderedCollections
import TestSupport
import Testing

/// A module of every kind of property that reflection knows.
private class Block: Module {
  @ModuleInfo(key: "query") var query: any UnaryLayer
  @ModuleInfo(key: "LayerNorm") var norm: LayerNorm
  @ModuleInfo var layers: [any UnaryLayer]
  @ParameterInfo(key: "gain_g") var gain: MLXArray
  @ParameterInfo var absent: MLXArray?
  let scales = [MLXArray.ones([2]), MLXArray.ones([3])]
  let heads = ["b": Linear(2, 1, bias: false), "a": Linear(2, 2, bias: false)]
  let dropout = Dropout(p: 0.5)
  let width = 4
  let _step = MLXArray(0)

  override init() {
    _query.wrappedValue = Linear(4, 4)
    _norm.wrappedValue = LayerNorm(dimensions: 4)
    _layers.wrappedValue = [Linear(4, 3), GELU(), Linear(3, 2, bias: false)]
    _gain.wrappedValue = MLXArray.ones([4])
    super.init()
  }

  func callAsFunction(_ x: MLXArray) -> MLXArray {
    layers.reduce(norm(query(x)) * gain) { $1($0) }
  }
}

private final class TallBlock: Block {
  let extra = MLXArray.zeros([5])
}

private final class Doubled: Module, UnaryLayer {
  let inner: Linear
  init(_ inner: Linear) { self.inner = inner }
  func callAsFunction(_ x: MLXArray) -> MLXArray { inner(x) * 2 }
}

private final class Tied: Module {
  let embedding = Embedding(embeddingCount: 5, dimensions: 3)
  let output: Linear
  override init() { output = Linear(weight: embedding.weight) }
}

@Suite struct ModuleTests {
  private let paths = [
    "query.weight", "query.bias", "LayerNorm.weight", "LayerNorm.bias", "layers.0.weight",
    "layers.0.bias", "layers.2.weight", "gain_g", "scales.0", "scales.1", "heads.a.weight",
    "heads.b.weight",
  ]

  @Test func parametersAreListedByKeyInTheOrderOfDeclaration() {
    #expect(Array(Block().parameters().keys) == paths)
    #expect(Array(TallBlock().parameters().keys) == paths + ["extra"])
  }

  @Test func modulesAreListedByPathOuterOnesFirst() {
    let block = Block()
    let names = [
      "query", "LayerNorm", "layers.0", "layers.1", "layers.2", "heads.a", "heads.b", "dropout",
    ]
    #expect(Array(block.namedModules().keys) == [""] + names)
    #expect(Array(block.leafModules().keys) == names)
    #expect(Array(block.children().keys) == names)
    #expect(block.modules().count == names.count + 1)
  }

  @Test func stateIsNoParameterButKnownToCompile() {
    let block = Block()
    // The step, and the key of the dropout.
    #expect(block.innerState().count == paths.count + 2)
    #expect(block.innerState().contains { $0 === block._step })
  }

  @Test func tiedParametersCountOnce() {
    let tied = Tied()
    #expect(Array(tied.parameters().keys) == ["embedding.weight"])
    #expect(tied.innerState().count == 1)
  }

  @Test func updatedParametersStayTheSameObjects() throws {
    let block = Block()
    let gain = block.gain
    let new = MLXArray([1, 2, 3, 4] as [Float]).asType(.bfloat16)
    try block.update(parameters: ["gain_g": new], verify: .noUnusedKeys)
    #expect(block.gain === gain)
    #expect(gain.dtype == .bfloat16)
    #expect(try gain.asArray(Float.self) == [1, 2, 3, 4])
    // The given array isn't the model's.
    gain[0] = MLXArray(9)
    #expect(try new.asArray(Float.self) == [1, 2, 3, 4])
  }

  @Test func aWrongUpdateThrowsAndChangesNothing() throws {
    let block = Block()
    let bias = try block.norm.bias?.asArray(Float.self)
    var new = block.parameters().mapValues { $0 + 1 }
    new["gain_g"] = MLXArray.zeros([3])
    let shape = #expect(throws: ModuleError.self) { try block.update(parameters: new) }
    #expect(shape == .wrongShape(path: "gain_g", expected: [4], got: [3]))
    #expect(shape?.description.contains("[4], got [3]") == true)
    new["gain_g"] = nil
    #expect(throws: ModuleError.missingParameters(paths: ["gain_g"], model: "Block")) {
      try block.update(parameters: new)
    }
    new["gain_g"] = MLXArray.zeros([4])
    new["gain_h"] = MLXArray.zeros([4])
    #expect(throws: ModuleError.unknownParameter(path: "gain_h", model: "Block")) {
      try block.update(parameters: new)
    }
    new["gain_h"] = nil
    new["gain_g"] = matmul(MLXArray.zeros([2, 3]), MLXArray.zeros([2, 3]))
    #expect(throws: MLXError.self) { try block.update(parameters: new) }
    let kept = try block.norm.bias?.asArray(Float.self)
    #expect(kept == bias)
    try block.update(parameters: ["nothing": MLXArray(1)], verify: .none)
  }

  @Test func modulesAreReplacedByPath() throws {
    let block = Block()
    let x = MLXRandom.normal([2, 4], key: MLXRandom.key(0))
    // Seeded, and large beside the norm's ε.
    let query = Linear(weight: MLXRandom.normal([4, 4], key: MLXRandom.key(1)), bias: nil)
    let last = Linear(weight: MLXRandom.normal([2, 3], key: MLXRandom.key(2)), bias: nil)
    try block.update(modules: ["query": query, "layers.2": last])
    let before = block(x)
    try block.update(modules: ["query": Doubled(query), "layers.2": Doubled(last)])
    #expect(block.query is Doubled)
    #expect(block.parameters()["query.inner.weight"] === query.weight)
    #expect(block.parameters()["layers.2.inner.weight"] === last.weight)
    // The norm undoes the first doubling.
    try expectClose(block(x), before * 2, .relative(1e-4))
    #expect(throws: ModuleError.fixedModule(path: "query.inner")) {
      try block.update(modules: ["query.inner": Linear(4, 4)])
    }
  }

  @Test func aWrongReplacementThrowsAndChangesNothing() throws {
    let block = Block()
    let query = block.query
    let new = Linear(4, 4)
    #expect(throws: ModuleError.unknownModule(path: "key", model: "Block")) {
      try block.update(modules: ["query": new, "key": new])
    }
    #expect(throws: ModuleError.self) {
      try block.update(modules: ["query": new, "LayerNorm": new])
    }
    #expect(throws: ModuleError.fixedModule(path: "heads.a")) {
      try block.update(modules: ["query": new, "heads.a": new])
    }
    #expect(block.query === query)
  }

  @Test func frozenParametersAreNotTrained() throws {
    let block = Block()
    try block.freeze()
    #expect(block.trainableParameters().isEmpty)
    try block.unfreeze(keys: ["bias", "gain_g"])
    #expect(
      Array(block.trainableParameters().keys) == [
        "query.bias", "LayerNorm.bias", "layers.0.bias", "gain_g",
      ])
    try block.unfreeze(recursive: false)
    #expect(block.trainableParameters().keys.contains("scales.1"))
    #expect(!block.trainableParameters().keys.contains("query.weight"))
    try block.query.unfreeze()
    #expect(block.trainableParameters().keys.contains("query.weight"))
    #expect(throws: ModuleError.unknownKey(key: "biass", model: "Block")) {
      try block.freeze(keys: ["bias", "biass"])
    }
  }

  @Test func integersAreNotTrained() throws {
    final class Sparse: Module {
      let values = MLXArray([1, 2] as [Float])
      let indices = MLXArray([0, 1] as [Int32])
      let mask = MLXArray([true, false])
    }
    let model = Sparse()
    #expect(Array(model.parameters().keys) == ["values", "indices", "mask"])
    #expect(Array(model.trainableParameters().keys) == ["values"])
    let step = valueAndGrad(model: model) { model, x, _ in
      sum(model.values[model.indices] * x)
    }
    let x = MLXArray([3, 5] as [Float])
    let (value, gradients) = step(model, x, x)
    #expect(try value.item(Float.self) == 13)
    #expect(Array(gradients.keys) == ["values"])
    #expect(try gradients["values"]?.asArray(Float.self) == [3, 5])
  }

  @Test func trainingReachesEveryModule() {
    let block = Block()
    #expect(block.dropout.training)
    block.train(false)
    #expect(block.modules().allSatisfy { !$0.training })
    block.train()
    #expect(!block.modules().contains { !$0.training })
  }

  @Test func applyChangesTheElementType() throws {
    let block = Block()
    try block.apply(filter: { path, _ in path != "gain_g" }) { $0.asType(.float16) }
    #expect(block.gain.dtype == .float32)
    #expect(
      block.parameters().filter { $0.key != "gain_g" }.allSatisfy { $0.value.dtype == .float16 })
  }

  @Test func gradientsComeByPathOfTheTrainableParameters() throws {
    let model = Linear(3, 2)
    let x = MLXRandom.normal([4, 3], key: MLXRandom.key(0))
    let y = MLXRandom.normal([4, 2], key: MLXRandom.key(1))
    try eval(model.weight)
    let before = try model.weight.asArray(Float.self)
    let step = valueAndGrad(model: model) { model, x, y in mean(square(model(x) - y)) }
    let (loss, gradients) = step(model, x, y)
    let error = model(x) - y
    try expectClose(loss, mean(square(error)), .roundings(8, of: .float32))
    #expect(Array(gradients.keys) == ["weight", "bias"])
    try expectClose(
      try #require(gradients["weight"]), matmul(error.T, x) / 4, .roundings(32, of: .float32))
    try expectClose(
      try #require(gradients["bias"]), error.sum(axis: 0) / 4, .roundings(32, of: .float32))
    #expect(try model.weight.asArray(Float.self) == before)
    try model.freeze(keys: ["weight"])
    #expect(Array(step(model, x, y).1.keys) == ["bias"])
  }

  @Test func anErrorInTheLossLeavesTheParametersAlone() throws {
    struct Stop: Error, CustomStringConvertible { let description = "stopped" }
    let model = Linear(3, 2)
    let before = try model.weight.asArray(Float.self)
    let x = MLXArray.ones([1, 3])
    let (loss, gradients) = valueAndGrad(model: model) { _, _, _ in throw Stop() }(model, x, x)
    #expect(loss.failure?.description.contains("stopped") == true)
    #expect(gradients["weight"]?.failure != nil)
    let shapes = valueAndGrad(model: model) { model, x, _ in sum(model(x)) }(model, x.T, x)
    #expect(shapes.0.failure != nil)
    #expect(try model.weight.asArray(Float.self) == before)
  }

  @Test func modelsCompile() throws {
    let model = Block()
    model.train(false)
    let x = MLXRandom.normal([2, 4], key: MLXRandom.key(0))
    let compiled = compile(inputs: [model]) { [model($0[0])] }
    try expectClose(compiled([x])[0], model(x), .roundings(64, of: .float32))
    try model.update(parameters: ["gain_g": MLXArray.zeros([4])], verify: .none)
    try expectClose(compiled([x])[0], model(x), .roundings(64, of: .float32))
  }
}
