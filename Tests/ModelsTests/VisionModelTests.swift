import Foundation
import Layers
import MLX
import MLXNN
import Operators
import OrderedCollections
import TestSupport
import Testing

@testable import Models

/// A small random checkpoint that `scripts/golden/vision_models.py` made.
enum SmallVisionModel: String, CaseIterable, CustomTestStringConvertible {
  case vit = "vit-odd"
  case t2t = "t2t-odd"
  case mlp = "mlp-odd"

  var testDescription: String { rawValue }

  /// A layer that a structure may replace, K → N.
  var layer: (path: String, inputs: Int, outputs: Int) {
    switch self {
    case .vit: ("vit.embeddings.patch_embeddings.projection", 75, 21)
    case .t2t: ("tokens_to_token.attention1.kqv", 147, 27)
    case .mlp: ("layers.1", 13, 13)
    }
  }

  /// The number of linear layers.
  var linearCount: Int {
    switch self {
    case .vit: 1 + 2 * 6 + 1
    case .t2t: 2 * 4 + 1 + 2 * 4 + 1
    case .mlp: 3
    }
  }

  func golden(_ name: String) throws -> MLXArray {
    try #require(try loadArrays(url: Golden.url("\(rawValue).safetensors"))[name])
  }

  static func model(
    _ folder: URL, _ factory: StructuredLayerFactory = .standard
  ) throws -> (checkpoint: any Checkpoint, model: any ImageClassifier) {
    let checkpoint = try ModelRegistry.load(
      CheckpointFolder(url: folder), structuredLayers: factory)
    return (checkpoint, try #require(checkpoint.module as? any ImageClassifier))
  }

  var model: any ImageClassifier {
    get throws { try SmallVisionModel.model(Golden.url(rawValue)).model }
  }
}

@Suite struct VisionModelTests {
  // MARK: - Agreement

  @Test(arguments: SmallVisionModel.allCases)
  func logitsAgreeWithTheReference(_ small: SmallVisionModel) throws {
    let (model, images) = (try small.model, try small.golden("images"))
    #expect(images.shape == [images.dim(0)] + model.imageShape)
    let logits = try model(images)
    #expect(logits.shape == [images.dim(0), model.classCount])
    try expectClose(logits, small.golden("logits"), .absolute(1e-4))
  }

  @Test func hiddenStatesAgreeWithTransformers() throws {
    let small = SmallVisionModel.vit
    let model = try #require(small.model as? ViTModel)
    let hidden = model.hiddenStates(images: try small.golden("images"))
    #expect(hidden.shape == [2, 10, 21])
    try expectClose(hidden, small.golden("hidden"), .absolute(1e-4))
  }

  @Test(arguments: SmallVisionModel.allCases)
  func pathsAreTheNamesOfTheTensors(_ small: SmallVisionModel) throws {
    let (checkpoint, model) = try SmallVisionModel.model(Golden.url(small.rawValue))
    #expect(model.parameters().keys.sorted() == checkpoint.folder.tensorNames)
    let linear = model.namedModules().filter { $0.value is Linear }
    #expect(linear.count == small.linearCount)
    let layer = try #require(linear[small.layer.path] as? Linear)
    #expect(layer.weight.shape == [small.layer.outputs, small.layer.inputs])
  }

  @Test func aSoftSplitTakesEveryWindow() throws {
    // Rows and columns by numbers that show where each came from.
    let grid = arange(2 * 5 * 4 * 3, dtype: .float32).reshaped(2, 5, 4, 3) + 1
    let split = SoftSplit(side: 3, stride: 2, padding: 1)
    let windows = split(grid)
    #expect(windows.shape == [2, 3 * 2, 3 * 9])
    let (values, pixels) = (try windows.asArray(Float.self), try grid.asArray(Float.self))
    var expected: [Float] = []
    for image in 0..<2 {
      for (row, column) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)] {
        for channel in 0..<3 {
          for place in 0..<9 {
            let (y, x) = (row * 2 - 1 + place / 3, column * 2 - 1 + place % 3)
            let isInside = (0..<5).contains(y) && (0..<4).contains(x)
            expected.append(isInside ? pixels[((image * 5 + y) * 4 + x) * 3 + channel] : 0)
          }
        }
      }
    }
    #expect(values == expected)
  }

  @Test func positionsAreSinusoids() throws {
    let stored = try #require(
      try loadArrays(url: Golden.url("t2t-odd/model.safetensors"))["pos_embed"])
    try expectClose(sinusoids(10, 22), stored, .absolute(1e-5))
    let odd = sinusoids(4, 5)
    #expect(odd.shape == [1, 4, 5])
    #expect(abs(try odd[0, 3, 4].item(Float.self) - sin(3 * pow(10000, -0.8))) < 1e-6)
  }

  @Test(arguments: SmallVisionModel.allCases)
  func theModelCanBeTrainedThroughEveryParameter(_ small: SmallVisionModel) throws {
    let images = try small.golden("images")
    func check<Model: ImageClassifier>(_ model: Model) throws {
      let step = valueAndGrad(model: model) { model, images, _ in
        mean(square(model.logits(images: images)))
      }
      let (loss, gradients) = step(model, images, images)
      try eval([loss] + Array(gradients.values))
      let fixed = model.parameters().keys.filter { $0 == "pos_embed" || $0.hasSuffix(".w") }
      #expect(fixed.count == (small == .t2t ? 3 : 0))
      #expect(gradients.count == model.parameters().count - fixed.count)
      // Keys' biases cancel in the softmax.
      for (path, gradient) in gradients where !path.hasSuffix("key.bias") {
        #expect(try abs(gradient).max().item(Float.self) > 1e-7, "\(path)")
      }
    }
    let model = try small.model
    try check(model)
  }

  // MARK: - Sizes of the papers

  @Test(arguments: [
    // Dosovitskiy et al., table 1; DeiT, table 1 (both in millions, with 1000 classes).
    (ViTConfiguration.small16, 22.1), (.small32, 22.9), (.large16, 304.3), (.huge14, 632.0),
  ])
  func visionTransformersHaveTheirPublishedSizes(
    _ configuration: ViTConfiguration, _ millions: Double
  ) {
    let size = ViTModel(configuration).parameters().values.reduce(0) { $0 + $1.size }
    #expect(Swift.abs(Double(size) / 1e6 - millions) < 0.06, "\(size)")
  }

  @Test(arguments: [
    // Yuan et al., table 2.
    (T2TViTConfiguration.t2tViT7, 4.3), (.t2tViT10, 5.9), (.t2tViT12, 6.9), (.t2tViT14, 21.5),
  ])
  func tokensToTokenTransformersHaveTheirPublishedSizes(
    _ configuration: T2TViTConfiguration, _ millions: Double
  ) {
    #expect(configuration.gridSizes == [56, 28, 14])
    let size = T2TViTModel(configuration).parameters().values.reduce(0) { $0 + $1.size }
    #expect(Swift.abs(Double(size) / 1e6 - millions) < 0.06, "\(size)")
  }

  // MARK: - Structures

  @Test(arguments: SmallVisionModel.allCases, ["btt:rank=2", "stl:rank=16", "lowrank:rank=3"])
  func structuredLayersComeBack(_ small: SmallVisionModel, _ spec: String) throws {
    try withCheckpoint(small.rawValue) { folder in
      let (checkpoint, model) = try SmallVisionModel.model(folder)
      let (path, inputs, outputs) = small.layer
      let layer = try StructuredLinear(
        OperatorSpec(parsing: spec), inputs: inputs, outputs: outputs, key: MLXRandom.key(3))
      try model.update(modules: [path: layer])
      let copy = folder.deletingLastPathComponent().appending(path: "copy")
      try checkpoint.write(to: copy)
      let files = try CheckpointFolder(url: copy)
      #expect(layer.parameters().keys.allSatisfy { files.tensor("\(path).\($0)") != nil })
      let again = try SmallVisionModel.model(copy).model
      #expect(again.namedModules()[path] is StructuredLinear)
      let images = try small.golden("images")
      try expectClose(again(images), model(images), .roundings(64, of: .float32))
    }
  }

  private func replaceAll(of model: any ImageClassifier, by spec: OperatorSpec) throws {
    let paths = model.namedModules().filter { $0.value is Linear }.keys
    try model.replaceLayers(paths.map { (key: $0, value: spec) }, key: MLXRandom.key(5))
  }

  @Test func everyLinearLayerCanBeReplaced() throws {
    for small in SmallVisionModel.allCases {
      let model = try small.model
      try replaceAll(of: model, by: .lowRank(rank: 2))
      #expect(!model.namedModules().values.contains { $0 is Linear })
      try eval(model(small.golden("images")))
    }
  }

  @Test(arguments: [SmallVisionModel.vit, .t2t])
  func tilesMixNoImages(_ small: SmallVisionModel) throws {
    let model = try small.model
    try replaceAll(of: model, by: .strassenTile(rank: 16))
    let images = try small.golden("images")
    try expectClose(
      try model(images)[0..<1], try model(images[0..<1]), .roundings(64, of: .float32))
  }

  // MARK: - Files

  @Test(arguments: SmallVisionModel.allCases)
  func anUnchangedModelComesOutAsItWentIn(_ small: SmallVisionModel) throws {
    try withCheckpoint(small.rawValue) { folder in
      let copy = folder.deletingLastPathComponent().appending(path: "copy")
      try SmallVisionModel.model(folder).checkpoint.write(to: copy)
      try expectUnchanged(copy, from: folder, files: ["config.json"])
    }
  }

  @Test func aModelFromNoFolderIsWrittenAndRead() throws {
    func check<Model: ImageClassifier>(_ model: Model) throws {
      try model.update(
        parameters: model.parameters().mapValues { array in
          MLXRandom.normal(array.shape, scale: 0.2, key: MLXRandom.key(UInt64(array.size)))
        })
      try withTemporaryFolder { folder in
        let target = folder.appending(path: "new")
        try model.write(to: target)
        let again = try SmallVisionModel.model(target).model
        let images = MLXRandom.normal([2] + model.imageShape, key: MLXRandom.key(1))
        #expect(try model(images).shape == [2, 5])
        try expectClose(again(images), model(images), .roundings(64, of: .float32))
      }
    }
    try check(
      ViTModel(
        ViTConfiguration(
          imageSize: 8, patchSize: 4, channelCount: 2, hiddenSize: 6, layerCount: 1, headCount: 3,
          classCount: 5, layerNormEpsilon: 1e-3, activation: .relu, projectionsHaveBias: false)))
    try check(
      T2TViTModel(
        T2TViTConfiguration(
          imageSize: 17, channelCount: 1, tokenSize: 6, featureCount: 5, hiddenSize: 8,
          layerCount: 1, headCount: 2, intermediateSize: 9, classCount: 5, layerNormEpsilon: 1e-3,
          projectionsHaveBias: true, attentionScale: 0.3)))
    try check(
      MLPModel(
        MLPConfiguration(
          imageSize: 3, channelCount: 2, hiddenSize: 7, layerCount: 3, classCount: 5,
          activation: .relu)))
  }

  @Test func bareModelsAndPoolersAreRead() throws {
    let small = SmallVisionModel.vit
    try withCheckpoint("vit-odd") { folder in
      let weight = MLXArray.eye(21)
      try editTensors(folder) { arrays in
        for (name, array) in arrays {
          arrays[name] = nil
          guard name.hasPrefix("vit.") else { continue }
          arrays[String(name.dropFirst("vit.".count))] = array
        }
        arrays["pooler.dense.weight"] = weight
        arrays["pooler.dense.bias"] = MLXArray.zeros([21])
      }
      let model = try #require(SmallVisionModel.model(folder).model as? ViTModel)
      let images = try small.golden("images")
      let hidden = model.hiddenStates(images: images)
      try expectClose(hidden, small.golden("hidden"), .absolute(1e-4))
      try expectClose(
        #require(model.pooled(hidden)), tanh(hidden[0..., 0]), .roundings(16, of: .float32))
      let error = try #require(throws: MLXError.self) { try eval(model(images)) }
      #expect(error.description.contains("expected a model with a classifier"))
    }
  }

  // MARK: - Wrong input

  @Test func wrongImagesThrow() throws {
    let model = try SmallVisionModel.vit.model
    for shape in [[2, 3, 15, 15], [15, 15, 3], [0, 15, 15, 3], [1, 15, 16, 3]] {
      let error = try #require(throws: ImageInputError.self) { try model(.zeros(shape)) }
      #expect(error.description.contains("expected [B, 15, 15, 3]"))
    }
    #expect(throws: ImageInputError.wrongType(.uint8)) {
      try model(.zeros([1, 15, 15, 3], dtype: .uint8))
    }
    #expect(throws: MLXError.self) { try model(MLXArray(failure: MLXError("x"))) }
  }

  @Test(arguments: [
    (SmallVisionModel.vit, "patch_size", JSON.integer(4), "a divisor of image_size 15"),
    (.vit, "patch_size", .integer(3), "expected shape"),
    (.vit, "num_attention_heads", .integer(4), "a divisor of hidden_size 21"),
    (.vit, "id2label", .object(["0": .string("a")]), "expected shape [1"),
    (.vit, "id2label", .object([:]), "at least one class"),
    (.vit, "hidden_act", .string("mish"), "supported: gelu"),
    (.vit, "hidden_size", .null, "`hidden_size`"),
    (.t2t, "image_size", .integer(3), "from 4 to 4096"),
    (.t2t, "image_size", .integer(64), "expected shape [1, 17, 22]"),
    (.t2t, "num_random_features", .integer(5), "expected shape [5, 9]"),
    (.t2t, "num_hidden_layers", .integer(3), "blocks.2."),
    (.t2t, "attention_scale", .integer(-1), "a positive number"),
    (.mlp, "num_hidden_layers", .integer(3), "expected shape [13, 13]"),
    (.mlp, "hidden_act", .null, "`hidden_act`"),
    (.mlp, "num_labels", .integer(7), "expected shape [7"),
  ])
  func wrongConfigurationsThrow(
    _ small: SmallVisionModel, _ key: String, _ value: JSON, _ words: String
  ) throws {
    try withCheckpoint(small.rawValue) { folder in
      try editConfiguration(folder) { $0[key] = value }
      let error = try #require(throws: CheckpointError.self) {
        try SmallVisionModel.model(folder)
      }
      #expect(error.description.contains(words), "\(error)")
    }
  }
}
