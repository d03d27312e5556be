import Foundation
import Layers
import MLX
import MLXNN
import Operators
import OrderedCollections
import TestSupport
import Testing

@testable import Models

/// A small random checkpoint that `scripts/golden/language_models.py` made.
enum SmallLanguageModel: String, CaseIterable, CustomTestStringConvertible {
  case gpt2 = "gpt2-odd"
  case llama = "llama-odd"

  var testDescription: String { rawValue }

  /// A layer that a structure may replace, K → N.
  var layer: (path: String, name: String, inputs: Int, outputs: Int) {
    switch self {
    case .gpt2: ("transformer.h.1.mlp.c_fc", "transformer.h.1.mlp.c_fc", 21, 37)
    case .llama: ("model.layers.1.mlp.up_proj", "model.layers.1.mlp.up_proj", 30, 41)
    }
  }

  /// The number of linear layers.
  var linearCount: Int { self == .gpt2 ? 2 * 4 : 2 * 7 + 1 }
  var maximumLength: Int { self == .gpt2 ? 23 : 29 }

  func golden(_ name: String) throws -> MLXArray {
    try #require(try loadArrays(url: Golden.url("\(rawValue).safetensors"))[name])
  }

  var tokens: [[Int32]] {
    get throws {
      let flat = try golden("tokens").asArray(Int32.self)
      return (0..<3).map { Array(flat[$0 * 11..<($0 + 1) * 11]) }
    }
  }

  static func model(
    _ folder: URL, _ factory: StructuredLayerFactory = .standard
  ) throws -> (checkpoint: any Checkpoint, model: any LanguageModel) {
    let checkpoint = try ModelRegistry.load(
      CheckpointFolder(url: folder), structuredLayers: factory)
    return (checkpoint, try #require(checkpoint.module as? any LanguageModel))
  }

  var model: any LanguageModel {
    get throws { try SmallLanguageModel.model(Golden.url(rawValue)).model }
  }

  /// Runs the body with a copy that it may break.
  func withCopy<Result>(_ body: (URL) throws -> Result) throws -> Result {
    try withCheckpoint(rawValue, body)
  }
}

@Suite struct LanguageModelTests {
  // MARK: - Agreement

  @Test(arguments: SmallLanguageModel.allCases)
  func logitsAgreeWithTransformers(_ small: SmallLanguageModel) throws {
    let logits = try small.model(small.tokens)
    #expect(logits.shape == [3, 11, 95])
    try expectClose(logits, small.golden("logits"), .absolute(1e-4))
  }

  @Test(arguments: SmallLanguageModel.allCases)
  func theNextLogitsAreTheLast(_ small: SmallLanguageModel) throws {
    let tokens = try small.golden("tokens")
    let next = try small.model.nextLogits(tokens: tokens, cache: nil)
    #expect(next.shape == [3, 95])
    try expectClose(
      next, small.model.logits(tokens: tokens, cache: nil)[0..., -1], .absolute(1e-5))
  }

  @Test(arguments: SmallLanguageModel.allCases)
  func greedyGenerationAgreesWithTransformers(_ small: SmallLanguageModel) throws {
    var seen: [Int32] = []
    let tokens = try small.model.generate(prompt: small.tokens[0], count: 8) { seen.append($0) }
    #expect(tokens == (try small.golden("greedy").asArray(Int32.self)))
    #expect(seen == tokens)
  }

  @Test(arguments: SmallLanguageModel.allCases)
  func pathsAreTheNamesOfTheTensors(_ small: SmallLanguageModel) throws {
    let (checkpoint, model) = try SmallLanguageModel.model(Golden.url(small.rawValue))
    #expect(model.parameters().keys.sorted() == checkpoint.folder.tensorNames)
    let linear = model.namedModules().filter { $0.value is Linear }
    #expect(linear.count == small.linearCount)
    let layer = try #require(linear[small.layer.path] as? Linear)
    #expect(layer.weight.shape == [small.layer.outputs, small.layer.inputs])
  }

  @Test(arguments: SmallLanguageModel.allCases)
  func laterTokensAreNotSeen(_ small: SmallLanguageModel) throws {
    let model = try small.model
    let base = matrix(try small.tokens)
    for token in 1..<11 {
      var moved = try small.tokens
      for row in moved.indices {
        for place in token..<11 { moved[row][place] = (moved[row][place] + 7) % 95 }
      }
      let leak = try LeakTest.leak(
        of: { model.logits(tokens: $0, cache: nil) }, from: base, to: matrix(moved), before: token)
      #expect(leak.forbidden < 1e-5 && leak.allowed > 0.1, "\(leak)")
    }
  }

  @Test(arguments: SmallLanguageModel.allCases)
  func theModelCanBeTrainedThroughEveryParameter(_ small: SmallLanguageModel) throws {
    let tokens = matrix(try small.tokens)
    func check<Model: LanguageModel>(_ model: Model) throws {
      let step = valueAndGrad(model: model) { model, tokens, _ in
        mean(square(model.logits(tokens: tokens, cache: nil)))
      }
      let (loss, gradients) = step(model, tokens, tokens)
      try eval([loss] + Array(gradients.values))
      #expect(gradients.count == model.parameters().count)
      // Keys' biases cancel in the softmax.
      for (path, gradient) in gradients where !path.hasSuffix("k_proj.bias") {
        #expect(try abs(gradient).max().item(Float.self) > 1e-7, "\(path)")
      }
    }
    let model = try small.model
    try check(model)
  }

  // MARK: - The cache

  @Test(arguments: SmallLanguageModel.allCases, [1, 2, 5])
  func cachedLogitsAreTheUncachedOnes(_ small: SmallLanguageModel, _ step: Int) throws {
    let model = try small.model
    let tokens = matrix(try small.tokens)
    let cache = KeyValueCache(layerCount: model.layerCount)
    let pieces = stride(from: 0, to: 11, by: step).map { start in
      model.logits(tokens: tokens[0..., start..<min(11, start + step)], cache: cache)
    }
    #expect(cache.length == 11)
    try expectClose(
      concatenated(pieces, axis: 1), model.logits(tokens: tokens, cache: nil),
      .roundings(128, of: .float32))
  }

  @Test func theCacheGrowsBeyondItsRoom() throws {
    let model = GPT2Model(
      GPT2Configuration(
        vocabularySize: 11, maximumLength: 600, hiddenSize: 6, layerCount: 1, headCount: 2))
    try model.update(
      parameters: model.parameters().mapValues { array in
        MLXRandom.normal(array.shape, key: MLXRandom.key(UInt64(array.size)))
      })
    let tokens = matrix([(0..<600).map { Int32($0 * $0 % 11) }])
    let cache = KeyValueCache(layerCount: 1)
    var rows: [MLXArray] = []
    for (start, end) in [(0, 250), (250, 251), (251, 258), (258, 599), (599, 600)] {
      rows.append(model.logits(tokens: tokens[0..., start..<end], cache: cache))
      try eval(rows)
    }
    try expectClose(
      concatenated(rows, axis: 1), model.logits(tokens: tokens), .roundings(128, of: .float32))
  }

  // MARK: - Sampling

  @Test func theSeedDeterminesTheTokens() throws {
    let model = try SmallLanguageModel.gpt2.model
    func sample(_ temperature: Float, _ seed: UInt64) throws -> [Int32] {
      try model.generate(
        prompt: [3, 5], count: 12, sampling: Sampling(temperature: temperature, seed: seed))
    }
    #expect(try sample(1, 4) == sample(1, 4))
    #expect(try sample(1, 4) != sample(1, 5))
    // Far below the gaps between logits, only the largest is left.
    #expect(try sample(1e-4, 4) == model.generate(prompt: [3, 5], count: 12))
  }

  @Test func tokensAreDrawnByTheSoftmaxOfTheirLogits() throws {
    let logits = MLXArray([0, 1, 2, -30] as [Float])
    let sampling = Sampling(temperature: 2)
    let keys = MLXRandom.split(key: MLXRandom.key(9), into: 4000)
    let drawn = try stacked(keys.map { sampling.choose(logits, key: $0) }).asType(.int32)
      .asArray(Int32.self)
    let expected = try softmax(logits / 2, axis: -1).asArray(Float.self)
    for token in 0..<4 {
      let share = Float(drawn.count { $0 == Int32(token) }) / 4000
      // Four standard deviations of a share are at most 0.032.
      #expect(abs(share - expected[token]) < 0.032)
    }
  }

  @Test func aStoppingTokenEndsTheText() throws {
    let model = try SmallLanguageModel.gpt2.model
    let all = try model.generate(prompt: [3, 5], count: 8)
    let end = try #require(all.first { $0 != all[0] })
    let place = try #require(all.firstIndex(of: end))
    #expect(
      try model.generate(prompt: [3, 5], count: 8, stopping: [end])
        == Array(all[..<place]))
  }

  // MARK: - Structures

  @Test(arguments: SmallLanguageModel.allCases, ["btt:rank=2", "stl:rank=16,rows=batch", "2:4"])
  func structuredLayersComeBack(_ small: SmallLanguageModel, _ spec: String) throws {
    try small.withCopy { folder in
      let (checkpoint, model) = try SmallLanguageModel.model(folder)
      let (path, name, inputs, outputs) = small.layer
      let dense = try #require(model.namedModules()[path] as? Linear)
      let layer = try StructuredLinear(
        OperatorSpec(parsing: spec), inputs: inputs, outputs: outputs, bias: dense.bias != nil,
        key: MLXRandom.key(3))
      try model.update(modules: [path: layer])
      let copy = folder.deletingLastPathComponent().appending(path: "copy")
      try checkpoint.write(to: copy)
      let files = try CheckpointFolder(url: copy)
      #expect(layer.parameters().keys.allSatisfy { files.tensor("\(name).\($0)") != nil })
      #expect(files.tensor("\(name).weight") == nil)
      let again = try SmallLanguageModel.model(copy).model
      #expect(again.namedModules()[path] is StructuredLinear)
      let tokens = try small.tokens
      try expectClose(again(tokens), model(tokens), .roundings(64, of: .float32))
      #expect(throws: StructuredLayerFactory.UnknownStructure.self) {
        try SmallLanguageModel.model(copy, .none)
      }
      // Cached generation of a converted model.
      let cache = KeyValueCache(layerCount: again.layerCount)
      let pieces = (0..<11).map {
        again.logits(tokens: matrix(tokens)[0..., $0..<$0 + 1], cache: cache)
      }
      try expectClose(concatenated(pieces, axis: 1), again(tokens), .roundings(128, of: .float32))
    }
  }

  @Test(arguments: SmallLanguageModel.allCases, ["sequence", "flat"])
  func leakingRowPoliciesAreRefusedUnlessInsistedUpon(
    _ small: SmallLanguageModel, _ rows: String
  ) throws {
    try small.withCopy { folder in
      let (path, name, inputs, outputs) = small.layer
      let (checkpoint, model) = try SmallLanguageModel.model(folder)
      let layer = try StructuredLinear(
        OperatorSpec(parsing: "stl:rank=16,rows=\(rows)"), inputs: inputs, outputs: outputs,
        bias: small == .gpt2, key: MLXRandom.key(3))
      try model.update(modules: [path: layer])
      let copy = folder.deletingLastPathComponent().appending(path: "copy")
      try checkpoint.write(to: copy)
      let error = try #require(throws: (any Error).self) { try SmallLanguageModel.model(copy) }
      #expect("\(error)".contains("rows=batch"), "\(error)")
      let insisted = try SmallLanguageModel.model(copy, .standard(insisting: true)).model
      let base = matrix(try small.tokens)
      var moved = try small.tokens
      for row in moved.indices { moved[row][6] = (moved[row][6] + 40) % 95 }
      let leak = try LeakTest.leak(
        of: { insisted.logits(tokens: $0, cache: nil) }, from: base, to: matrix(moved), before: 6)
      #expect(leak.share > 1e-3, "\(name): \(leak)")
    }
  }

  // MARK: - Files

  @Test(arguments: SmallLanguageModel.allCases)
  func anUnchangedModelComesOutAsItWentIn(_ small: SmallLanguageModel) throws {
    try small.withCopy { folder in
      let copy = folder.deletingLastPathComponent().appending(path: "copy")
      try SmallLanguageModel.model(folder).checkpoint.write(to: copy)
      try expectUnchanged(copy, from: folder, files: ["config.json", "tokenizer.json"])
    }
  }

  @Test func bareModelsAndTiedHeadsAndMasksAreRead() throws {
    let small = SmallLanguageModel.gpt2
    try small.withCopy { folder in
      try editTensors(folder) { arrays in
        for (name, array) in arrays {
          arrays[name] = nil
          arrays[String(name.dropFirst("transformer.".count))] = array
        }
        // As the first published folders are.
        arrays["h.0.attn.bias"] = MLXArray.ones([1, 1, 23, 23])
        arrays["lm_head.weight"] = MLXArray.zeros([95, 21])
      }
      let (checkpoint, model) = try SmallLanguageModel.model(folder)
      try expectClose(model(small.tokens), small.golden("logits"), .absolute(1e-4))
      let copy = folder.deletingLastPathComponent().appending(path: "copy")
      try checkpoint.write(to: copy)
      let files = try CheckpointFolder(url: copy)
      #expect(files.tensor("h.0.attn.bias") != nil && files.tensor("wte.weight") != nil)
      // A stale copy of the table would contradict the model that was trained on.
      #expect(files.tensor("lm_head.weight") == nil)
    }
  }

  @Test func headsAreTiedOrNotAsTheConfigurationSays() throws {
    try SmallLanguageModel.gpt2.withCopy { folder in
      try editConfiguration(folder) { $0["tie_word_embeddings"] = .bool(false) }
      let error = try #require(throws: CheckpointError.self) {
        try SmallLanguageModel.model(folder)
      }
      #expect(error.description.contains("`lm_head.weight`"))
      try editTensors(folder) { $0["lm_head.weight"] = MLXArray.ones([95, 21]) }
      let logits = try SmallLanguageModel.model(folder).model([[1, 2]])
      try expectClose(logits[0..., 0..., 0..<1], logits[0..., 0..., 94..<95], .absolute(1e-5))
    }
    try SmallLanguageModel.llama.withCopy { folder in
      try editConfiguration(folder) { $0["tie_word_embeddings"] = .bool(true) }
      let model = try SmallLanguageModel.model(folder).model
      #expect(!model.parameters().keys.contains("lm_head.weight"))
    }
  }

  @Test func aModelFromNoFolderIsWrittenAndRead() throws {
    func check<Model: LanguageModel>(_ model: Model) throws {
      try model.update(
        parameters: model.parameters().mapValues { array in
          MLXRandom.normal(array.shape, scale: 0.5, key: MLXRandom.key(UInt64(array.size)))
        })
      try withTemporaryFolder { folder in
        let target = folder.appending(path: "new")
        try model.write(to: target)
        let again = try SmallLanguageModel.model(target).model
        #expect(again.endTokens == model.endTokens)
        let tokens: [[Int32]] = [[1, 2, 3, 4, 5]]
        try expectClose(again(tokens), model(tokens), .roundings(16, of: .float32))
        #expect(throws: CheckpointError.targetExists(path: target.path)) {
          try model.write(to: target)
        }
        try model.write(to: target, replacingExisting: true)
      }
    }
    try check(
      GPT2Model(
        GPT2Configuration(
          vocabularySize: 11, maximumLength: 9, hiddenSize: 6, layerCount: 1, headCount: 2,
          intermediateSize: 7, layerNormEpsilon: 1e-3, activation: .relu, tiesEmbeddings: false,
          endTokens: [4])))
    try check(
      LlamaModel(
        LlamaConfiguration(
          vocabularySize: 11, maximumLength: 9, hiddenSize: 6, layerCount: 1, headCount: 4,
          keyValueHeadCount: 2, headSize: 8, intermediateSize: 7, normEpsilon: 1e-3, ropeBase: 77,
          feedForwardHasBias: true, tiesEmbeddings: true, endTokens: [7, 3])))
  }

  // MARK: - Wrong input

  @Test(
    arguments: [
      ([], "at least one sequence"), ([[]], "at least one sequence"),
      ([[1, 2], [1]], "tokens with 2 columns"), ([[1, 95]], "tokens from 0 to 94, got 95"),
      ([[-1]], "got -1 in row 0"), ([Array(repeating: 1, count: 24)], "at most 23 tokens, got 24"),
    ] as [([[Int32]], String)])
  func wrongTokensThrow(_ tokens: [[Int32]], _ words: String) throws {
    let model = try SmallLanguageModel.gpt2.model
    let error = try #require(throws: TokenInputError.self) { try model(tokens) }
    #expect(error.description.contains(words))
  }

  @Test func wrongRequestsThrow() throws {
    let model = try SmallLanguageModel.gpt2.model
    func refusal(_ prompt: [Int32], _ count: Int, _ temperature: Float = 0) throws -> String {
      let error = try #require(throws: (any Error).self) {
        try model.generate(
          prompt: prompt, count: count, sampling: Sampling(temperature: temperature))
      }
      return "\(error)"
    }
    let long = [Int32](repeating: 1, count: 20)
    #expect(try refusal(long, 4).contains("at most 23 tokens in all, got 20 of the prompt and 4"))
    #expect(try refusal([1], .max).contains("at most 23"))
    #expect(try refusal([], 4).contains("at least one token"))
    #expect(try refusal([95], 4).contains("got 95"))
    #expect(try refusal([1], 0).contains("1 token or more"))
    #expect(try refusal([1], 4, -1).contains("a temperature of 0 or more, got -1"))
    #expect(try refusal([1], 4, .nan).contains("a temperature of 0 or more"))
  }

  @Test(arguments: [
    (SmallLanguageModel.gpt2, "n_embd", JSON.integer(22), "a divisor of n_embd"),
    (.gpt2, "n_embd", .integer(24), "expected shape"), (.gpt2, "n_layer", .integer(3), "h.2."),
    (.gpt2, "n_inner", .integer(38), "[21, 38] by config.json, got [21, 37]"),
    (.gpt2, "scale_attn_weights", .bool(false), "supported: true"),
    (.gpt2, "scale_attn_by_inverse_layer_idx", .bool(true), "supported: false"),
    (.gpt2, "model_type", .string("gpt3"), "supported: bert, gpt2, llama"),
    (.llama, "num_key_value_heads", .integer(4), "a divisor of num_attention_heads 6"),
    (.llama, "head_dim", .integer(5), "an even size"),
    (.llama, "hidden_act", .string("gelu"), "supported: silu"),
    (.llama, "intermediate_size", .integer(42), "[42, 30] by config.json, got [41, 30]"),
    (
      .llama, "rope_scaling", .object(["rope_type": .string("yarn")]),
      "supported: default, linear, llama3"
    ),
    (.llama, "rope_scaling", .object(["rope_type": .string("llama3")]), "low_freq_factor"),
    (.llama, "rope_scaling", .object(["type": .string("linear")]), "factor"),
    (.llama, "rope_parameters", .integer(1), "an object"),
    (.llama, "eos_token_id", .string("x"), "a token or a list of them"),
  ])
  func wrongConfigurationsThrow(
    _ small: SmallLanguageModel, _ key: String, _ value: JSON, _ words: String
  ) throws {
    try small.withCopy { folder in
      try editConfiguration(folder) { $0[key] = value }
      let error = try #require(throws: CheckpointError.self) {
        try TextGenerator(folder: folder)
      }
      #expect(error.description.contains(words), "\(error)")
    }
  }

  @Test func olderPlacesOfTheBaseAreRead() throws {
    let small = SmallLanguageModel.llama
    try small.withCopy { folder in
      try editConfiguration(folder) {
        $0["rope_parameters"] = nil
        $0["rope_scaling"] = .null
        $0["rope_theta"] = .number("500.0")
      }
      let model = try SmallLanguageModel.model(folder).model
      try expectClose(model(small.tokens), small.golden("logits"), .absolute(1e-4))
    }
  }

  private static let scalings: [(RoPEScaling, String)] = [
    (.linear(factor: 2.5), "linear"), (.llama3(factor: 8, low: 1, high: 4, length: 64), "llama3"),
  ]

  @Test(arguments: scalings)
  func scaledPositionsAgreeWithTransformers(_ scaling: RoPEScaling, _ kind: String) throws {
    let small = SmallLanguageModel.llama
    let golden = try #require(try loadArrays(url: Golden.url("llama-rope.safetensors"))[kind])
    for key in RoPEScaling.keys {
      try small.withCopy { folder in
        try editConfiguration(folder) {
          $0["rope_parameters"] = nil
          $0[key] = .object(scaling.object(base: 500))
        }
        let model = try SmallLanguageModel.model(folder).model
        #expect((model as? LlamaModel)?.configuration.ropeScaling == scaling)
        try expectClose(model(small.tokens), golden, .absolute(1e-4))
        #expect(try relativeError(golden, small.golden("logits")) > 1e-2)
        // Written anew from its sizes it is the same model.
        let copy = folder.appending(path: "copy")
        try model.write(to: copy)
        try expectClose(
          SmallLanguageModel.model(copy).model(small.tokens), golden, .absolute(1e-4))
      }
    }
  }

  @Test func eachPairOfComponentsIsScaledByItsRate() {
    let plain = RoPEScaling.none.periods(dimensions: 6, base: 500)
    let scaled = RoPEScaling.llama3(factor: 8, low: 1, high: 4, length: 64)
      .periods(dimensions: 6, base: 500)
    #expect(scaled[0] == plain[0] && scaled[2] == 8 * plain[2])
    #expect(scaled[1] > plain[1] && scaled[1] < 8 * plain[1])
  }

  // MARK: - Texts

  @Test(.enabled(if: Tokenizers.isInstalled, Tokenizers.missing))
  func textsAreContinued() throws {
    let generator = try TextGenerator(folder: Golden.url("llama-odd"))
    let answer = try generator("Hi there", count: 5)
    #expect(answer.tokens.count <= 5 && answer.text.hasPrefix("Hi there"))
    #expect(answer.text.unicodeScalars.count == 8 + answer.tokens.count)
    let error = try #require(throws: GenerationError.self) {
      try generator(String(repeating: "long ", count: 9), count: 5)
    }
    #expect(error == .tooLong(prompt: 45, count: 5, limit: 29))
    #expect(throws: GenerationError.notALanguageModel(modelType: "bert")) {
      try TextGenerator(folder: Golden.url("bert-odd"))
    }
  }
}
