import Foundation
import Layers
import MLX
import MLXNN
import Operators
import OrderedCollections
import TestSupport
import Testing

@testable import Models

/// Models before they have learnt anything: their sizes, their random weights, their structures.
@Suite struct TrainingStartTests {
  private func parameterCount(_ model: Module) -> Int {
    model.parameters().values.reduce(0) { $0 + $1.size }
  }

  private func deviation(_ array: MLXArray?) throws -> Double {
    let array = try #require(array)
    return Double(try mean(square(array)).item(Float.self)).squareRoot()
  }

  @Test func languageModelsHaveTheirPublishedSizes() {
    #expect(parameterCount(GPT2Model(GPT2Configuration())) == 124_439_808)
    #expect(parameterCount(LlamaModel(.tinyLlama)) == 1_100_048_384)
  }

  @Test func theStartOfGPT2IsThatOfThePaper() throws {
    let model = GPT2Model(
      GPT2Configuration(
        vocabularySize: 97, maximumLength: 31, hiddenSize: 48, layerCount: 8, headCount: 3))
    try model.initialize(key: MLXRandom.key(1))
    let values = model.parameters()
    // A deviation of n numbers is known to about 1/√(2n).
    for (name, expected) in [
      ("wte.weight", 0.02), ("wpe.weight", 0.02), ("h.3.attn.c_attn.weight", 0.02),
      ("h.3.attn.c_proj.weight", 0.005), ("h.7.mlp.c_proj.weight", 0.005),
    ] {
      let measured = try deviation(values["transformer." + name])
      #expect(abs(measured / expected - 1) < 0.08, "\(name): \(measured)")
    }
    #expect(try deviation(values["transformer.h.3.attn.c_attn.bias"]) == 0)
    #expect(try deviation(values["transformer.h.3.ln_1.weight"]) == 1)
    // So the first guess is that all tokens are equally probable.
    let logits = try model([[1, 2, 3, 4]])
    let loss = (logSumExp(logits, axis: -1) - logits[0..., 0..., 0]).mean()
    #expect(abs(try loss.item(Double.self) - 4.5747) < 0.05)
  }

  @Test func everyParameterOfEveryFamilyGetsAStart() throws {
    func check<Model: CheckpointModel>(_ model: Model, _ run: (Model) -> MLXArray) throws {
      try model.initialize(key: MLXRandom.key(2))
      let first = model.parameters().mapValues { $0 + 0 }
      try eval(Array(first.values))
      for (path, value) in first where !path.hasSuffix("bias") {
        #expect(try deviation(value) > 0, "\(Model.modelType) \(path)")
      }
      #expect(try isFinite(run(model)).all().item(Bool.self))
      try model.initialize(key: MLXRandom.key(2))
      for (path, value) in model.parameters() {
        #expect(try arrayEqual(value, first[path] ?? value).item(Bool.self), "\(path)")
      }
      try model.initialize(key: MLXRandom.key(3))
      let moved = try model.parameters().count { path, value in
        try !arrayEqual(value, first[path] ?? value).item(Bool.self)
      }
      #expect(moved > 1)
    }
    let tokens = MLXArray([1, 2, 3] as [Int32], [1, 3])
    func image<Model: ImageClassifier>(_ model: Model) -> MLXArray {
      model.logits(images: MLXRandom.normal([1] + model.imageShape, key: MLXRandom.key(4)))
    }
    try check(
      BERTModel(
        BERTConfiguration(
          vocabularySize: 11, hiddenSize: 6, layerCount: 1, headCount: 2, intermediateSize: 7))
    ) { $0.hiddenStates(tokens: tokens) }
    try check(
      GPT2Model(GPT2Configuration(vocabularySize: 11, hiddenSize: 6, layerCount: 1, headCount: 2))
    ) { $0.logits(tokens: tokens) }
    try check(
      LlamaModel(
        LlamaConfiguration(
          vocabularySize: 11, hiddenSize: 8, layerCount: 1, headCount: 2, intermediateSize: 7))
    ) { $0.logits(tokens: tokens) }
    try check(
      ViTModel(
        ViTConfiguration(
          imageSize: 8, patchSize: 4, hiddenSize: 6, layerCount: 1, headCount: 2, classCount: 3)),
      image)
    try check(
      T2TViTModel(
        T2TViTConfiguration(
          imageSize: 16, tokenSize: 6, hiddenSize: 6, layerCount: 1, headCount: 2,
          intermediateSize: 7, classCount: 3)), image)
    try check(
      MLPModel(MLPConfiguration(channelCount: 9, hiddenSize: 6, layerCount: 2, classCount: 3)),
      image)
  }

  @Test(arguments: [4, 9])
  func directionsOfThePerformerAreOrthogonal(_ count: Int) throws {
    let model = T2TViTModel(
      T2TViTConfiguration(
        imageSize: 16, tokenSize: 6, featureCount: count, hiddenSize: 6, layerCount: 1,
        headCount: 2, intermediateSize: 7))
    try model.initialize(key: MLXRandom.key(2))
    let directions = try #require(model.parameters()["tokens_to_token.attention1.w"])
    #expect(directions.shape == [count, 6])
    let products =
      count > 6 ? matmul(directions.T, directions) : matmul(directions, directions.T)
    try expectClose(
      products, .eye(Swift.min(count, 6)) * Float(count), .roundings(64, of: .float32))
  }

  // MARK: - Structures

  @Test func layersAreReplacedBySpecs() throws {
    let model = GPT2Model(
      GPT2Configuration(vocabularySize: 11, hiddenSize: 12, layerCount: 2, headCount: 2))
    try model.initialize(key: MLXRandom.key(1))
    let specs: [(key: String, value: OperatorSpec)] = [
      ("transformer.h.0.mlp.c_fc", .blockTensorTrain(rank: 2)),
      ("transformer.h.1.attn.c_attn", .strassenTile(rank: 16, rows: .batch)),
    ]
    try model.replaceLayers(specs, key: MLXRandom.key(2))
    for (path, spec) in specs {
      let layer = try #require(model.namedModules()[path] as? StructuredLinear)
      #expect("\(layer.structure.spec)".hasPrefix("\(spec)".prefix { $0 != "," }))
      #expect(layer.bias != nil)
    }
    // What is structured is not started again by the dense rule.
    let before = try #require(model.parameters()["transformer.h.0.mlp.c_fc.btt.core0"]) + 0
    try eval(before)
    try model.initialize(key: MLXRandom.key(5))
    let after = try #require(model.parameters()["transformer.h.0.mlp.c_fc.btt.core0"])
    #expect(try arrayEqual(after, before).item(Bool.self))
    #expect(try isFinite(model([[1, 2, 3]])).all().item(Bool.self))
  }

  @Test func layersThatDoNotFitAreRefused() throws {
    let model = GPT2Model(
      GPT2Configuration(vocabularySize: 11, hiddenSize: 12, layerCount: 1, headCount: 2))
    func refusal(_ path: String, _ spec: OperatorSpec) throws -> String {
      let error = try #require(throws: (any Error).self) {
        try model.replaceLayers([(key: path, value: spec)], key: MLXRandom.key(2))
      }
      #expect(!model.namedModules().values.contains { $0 is StructuredLinear })
      return "\(error)"
    }
    let path = "transformer.h.0.mlp.c_fc"
    #expect(try refusal("transformer.h.1.mlp.c_fc", .twoFour).contains("transformer.h.1.mlp.c_fc"))
    #expect(try refusal("transformer.h.0.ln_1", .twoFour).contains("a dense layer"))
    #expect(try refusal(path, .lowRank(rank: 100)).contains("100"))
    #expect(try refusal(path, .strassenTile(rank: 16)).contains("rows=batch"))
    try model.replaceLayers(
      [path: .strassenTile(rank: 16)], key: MLXRandom.key(2), insisting: true)
    #expect(model.namedModules()[path] is StructuredLinear)
    // A model of images sees all of its tokens anyhow.
    let vit = ViTModel(
      ViTConfiguration(imageSize: 8, patchSize: 4, hiddenSize: 8, layerCount: 1, headCount: 2))
    try vit.replaceLayers(
      [(key: "vit.encoder.layer.0.output.dense", value: .strassenTile(rank: 16))],
      key: MLXRandom.key(2))
  }

  // MARK: - Encodings shared by layers that read one input

  /// The same model with each encoder an array of its own.
  private func told<Model: CheckpointModel>(apart model: Model) throws -> Model {
    try model.apply(filter: { path, _ in path.hasSuffix("stl.encoder") }) { $0 + 0 }
    return model
  }

  @Test func modelsWithSharedEncodingsComputeTheSame() throws {
    func check<Model: CheckpointModel>(
      _ make: () -> Model, _ spec: String, sharing: Int, _ run: (Model) -> MLXArray
    ) throws {
      func made() throws -> Model {
        let model = make()
        try model.initialize(key: MLXRandom.key(5))
        let stack = model.namedModules().filter { $0.value is Linear }.keys
          .filter { $0.contains(".0.") || $0.contains(".1.") }
        let structure = try OperatorSpec(parsing: spec)
        try model.replaceLayers(stack.map { (key: $0, value: structure) }, key: MLXRandom.key(6))
        // A type without kernels on a CPU: composed operations share there.
        try model.apply { $0.asType(.float64) }
        try model.shareEncoders()
        return model
      }
      let model = try made()
      let encoders = model.parameters().filter { $0.key.hasSuffix("stl.encoder") }.values
      let first = try #require(encoders.first)
      #expect(encoders.count == sharing && encoders.allSatisfy { $0.isIdentical(to: first) })
      let (ours, theirs) = (run(model), run(try told(apart: made())))
      #expect(try arrayEqual(ours, theirs).item(Bool.self), "\(Model.modelType)")
      #expect(try isFinite(ours).all().item(Bool.self))
    }
    let tokens = MLXArray((0..<20).map { Int32($0) }, [4, 5])
    let llama = LlamaConfiguration(
      vocabularySize: 50, hiddenSize: 16, layerCount: 2, headCount: 4, keyValueHeadCount: 2,
      intermediateSize: 24)
    // All of K = 16 and of K = 24: one table.
    try check({ LlamaModel(llama) }, "stl:rank=24,rows=batch", sharing: 14) {
      $0.logits(tokens: tokens)
    }
    let vit = ViTConfiguration(
      imageSize: 8, patchSize: 4, hiddenSize: 12, layerCount: 2, headCount: 3, classCount: 5)
    let images = MLXRandom.normal([3, 8, 8, 3], key: MLXRandom.key(7)).asType(.float64)
    try check({ ViTModel(vit) }, "stl:rank=24", sharing: 12) { $0.logits(images: images) }
  }

  @Test func aLoadedCheckpointSharesEqualEncoders() throws {
    let llama = LlamaConfiguration(
      vocabularySize: 50, hiddenSize: 16, layerCount: 1, headCount: 4, intermediateSize: 24)
    let model = LlamaModel(llama)
    try model.initialize(key: MLXRandom.key(1))
    let paths = ["q_proj", "k_proj", "v_proj"].map { "model.layers.0.self_attn.\($0)" }
    let spec = try OperatorSpec(parsing: "stl:rank=24,rows=batch")
    try model.replaceLayers(paths.map { (key: $0, value: spec) }, key: MLXRandom.key(2))
    let other = paths[1] + ".stl.encoder"
    let changed = try #require(model.parameters()[other]) * 2
    try model.update(parameters: [(key: other, value: changed)], verify: .noUnusedKeys)
    try withTemporaryFolder { folder in
      let target = folder.appending(path: "model")
      try model.write(to: target)
      let loaded = try ModelCheckpoint<LlamaModel>(
        folder: CheckpointFolder(url: target), structuredLayers: .standard
      ).model.parameters()
      let encoders = paths.compactMap { loaded[$0 + ".stl.encoder"] }
      #expect(encoders.count == 3)
      #expect(encoders[0].isIdentical(to: encoders[2]))
      #expect(!encoders[0].isIdentical(to: encoders[1]))
    }
  }
}
