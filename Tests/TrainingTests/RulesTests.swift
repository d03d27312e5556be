import Foundation
import Layers
import MLX
import MLXNN
import MLXOptimizers
import Models
import Operators
import OrderedCollections
import TestSupport
import Testing

@testable import Training

@Suite struct RulesTests {
  /// An MLP of width d with one structured square layer, `layers.1`.
  private func model(
    _ spec: OperatorSpec, width: Int, rules: TrainingRules = TrainingRules()
  ) throws -> MLPModel {
    let model = MLPModel(
      MLPConfiguration(channelCount: 12, hiddenSize: width, layerCount: 2, classCount: 5))
    try model.replaceLayers([(key: "layers.1", value: spec)], key: MLXRandom.key(1))
    try rules.initialize(model, key: MLXRandom.key(2))
    return model
  }

  private func deviation(_ array: MLXArray?) throws -> Double {
    try mean(square(try #require(array))).item(Double.self).squareRoot()
  }

  /// Qiu et al., table 2: Adam's multipliers of square layers of width d.
  @Test(arguments: [64, 256])
  func multipliersAreThoseOfTheTable(_ width: Int) throws {
    let d = Double(width)
    let cases: [(OperatorSpec, [String: Double])] = [
      (.lowRank(rank: 4), ["lowrank.v": 0.5, "lowrank.u": d / 8]),
      (
        .kronecker(input: nil, output: nil),
        ["kronecker.core0": d.squareRoot() / 2, "kronecker.core1": d.squareRoot() / 2]
      ),
      (.monarch(blocks: 4), ["monarch.core0": 2, "monarch.core1": 2]),
      (
        .blockTensorTrain(rank: 2, normalized: true),
        [
          "btt.core0": d.squareRoot() / 2, "btt.core1": d.squareRoot() / 4, "btt.gamma0": 1,
          "btt.gamma1": 1,
        ]
      ),
    ]
    for (spec, expected) in cases {
      let groups = try TrainingRules().groups(for: model(spec, width: width))
      let own = groups.filter { $0.key.hasPrefix("layers.1.") && !$0.key.hasSuffix("bias") }
      #expect(own.count == expected.count, "\(own.keys)")
      for (name, multiplier) in expected {
        let group = try #require(groups["layers.1.\(name)"], "\(spec): \(own.keys)")
        #expect(abs(Double(group.learningRateMultiplier) - multiplier) < 1e-5, "\(spec) \(name)")
        #expect(group.weightDecay == !name.contains("gamma"))
      }
      #expect(groups["layers.1.bias"] == ParameterGroup(weightDecay: false))
      #expect(groups["layers.0.weight"] == ParameterGroup())
    }
  }

  /// Yang et al., table 8: hidden and output weights learn at 1/width, inputs and vectors do not.
  @Test func ratesFallWithTheWidth() throws {
    var rules = TrainingRules()
    rules.baseWidth = 32
    let groups = try rules.groups(for: model(.lowRank(rank: 4), width: 128))
    let rate = { groups[$0]?.learningRateMultiplier }
    #expect(rate("layers.0.weight") == 1)
    #expect(rate("layers.2.weight") == 0.25)
    #expect(rate("layers.1.lowrank.v") == 0.125)
    #expect(rate("layers.0.bias") == 1)
    for (name, text) in Small.models {
      let recipe = try Small.recipe(text, "rules: {base_width: 8}", in: URL(filePath: "/tmp"))
      let model = try recipe.makeModel().module
      let groups = try recipe.rules.groups(for: model)
      #expect(Set(groups.keys) == Set(model.parameters().keys), "\(name)")
      #expect(groups.values.contains { $0.learningRateMultiplier == 0.5 }, "\(name)")
      for (path, group) in groups where model.parameters()[path]?.ndim != 2 {
        #expect(!group.weightDecay && group.learningRateMultiplier == 1, "\(name) \(path)")
      }
    }
    rules.rates = .uniform
    let uniform = try rules.groups(for: model(.lowRank(rank: 4), width: 128))
    #expect(uniform.values.allSatisfy { $0.learningRateMultiplier == 1 })
  }

  @Test func codersHaveTheirOwnRateAndNoDecay() throws {
    let model = try model(.strassenTile(rank: 16), width: 64)
    let groups = try TrainingRules().groups(for: model)
    let layer = try #require(model.layers[1] as? StructuredLinear)
    for (name, multiplier) in layer.structure.learningRateMultipliers {
      #expect(
        groups["layers.1.stl.\(name)"]
          == ParameterGroup(
            learningRateMultiplier: Float(multiplier), weightDecay: name == "weight"))
    }
  }

  /// Qiu et al., section 3.2: σ = √min(d_in, d_out) / d_in.
  @Test func denseWeightsStartByTheRule() throws {
    var rules = TrainingRules()
    rules.zeroesLastLayers = false
    let model = try model(.lowRank(rank: 8), width: 96, rules: rules)
    let parameters = model.parameters()
    #expect(abs(try deviation(parameters["layers.0.weight"]) * 12.0.squareRoot() - 1) < 0.1)
    #expect(
      abs(try deviation(parameters["layers.2.weight"]) / (5.0.squareRoot() / 96) - 1) < 0.15)
    rules.initialization = .family
    let family = try self.model(.lowRank(rank: 8), width: 96, rules: rules).parameters()
    #expect(abs(try deviation(family["layers.2.weight"]) * 96.0.squareRoot() - 1) < 0.15)
  }

  @Test(arguments: Small.models.keys.sorted())
  func branchesAreSilentAtFirst(_ name: String) throws {
    let recipe = try Small.recipe(name, in: URL(filePath: "/tmp"))
    let model = try recipe.makeModel().module
    let last = model.namedModules().filter { $0.value is Linear && model.isLast($0.key) }
    #expect(last.count == ["mlp": 1, "vit": 3, "t2t_vit": 7, "gpt2": 2, "llama": 3][name])
    for (path, _) in last {
      #expect(try deviation(model.parameters()["\(path).weight"]) == 0, "\(path)")
    }
    let batch = try Small.data(name).train.examples(0..<2)
    let logits = Objective.logits(model, batch.inputs, dtype: .float32)
    // GPT-2 reads its logits off the table of words, which cannot be zero.
    #expect(try (abs(logits).max().item(Float.self) == 0) == (name != "gpt2"))
  }

  @Test(arguments: [
    "lowrank:rank=2", "btt:rank=2", "btt:rank=2,norm=true", "monarch:blocks=2", "kronecker",
    "tt:rank=2", "monarch:blocks=4", "stl:rank=16", "2:4",
  ])
  func structuresStartAtZeroAndLearn(_ spec: String) throws {
    try withTemporaryFolder { folder in
      let trainer = try Small.trainer(
        "vit",
        """
        structures: [{layers: "vit.encoder.layer.*", to: "\(spec)"}]
        optimizer: {rate: 0.01}
        clip: 1
        """, steps: 10, batch: 24, in: folder)
      let before = try trainer.parameters()
      let result = try trainer.run()
      let metrics = trainer.metrics.read().compactMap(\.loss)
      #expect(metrics.allSatisfy { $0.isFinite })
      #expect(try #require(result.trainingLoss) < metrics[0] - 0.01, "\(metrics)")
      for (path, value) in trainer.model.trainableParameters()
      where path.contains("output.dense") && !path.hasSuffix("gamma1") {
        let start = try #require(before[path])
        #expect(try !arrayEqual(value, start).item(Bool.self), "\(path)")
      }
    }
  }

  @Test func frozenCodersStay() throws {
    try withTemporaryFolder { folder in
      let trainer = try Small.trainer(
        "vit",
        "encoders: frozen\nstructures: [{layers: '*.intermediate.dense', to: 'stl:rank=16'}]",
        steps: 3, in: folder)
      let before = try trainer.parameters()
      _ = try trainer.run()
      for (path, value) in trainer.model.parameters() where path.contains(".stl.") {
        let start = try #require(before[path])
        let isSame = try arrayEqual(value, start).item(Bool.self)
        #expect(isSame == !path.hasSuffix(".weight"), "\(path)")
      }
    }
  }

  /// The first Strassen-Tile layer of a small model.
  private func tiles(_ family: String, _ layers: String, _ spec: String) throws -> String? {
    try withTemporaryFolder { folder in
      let trainer = try Small.trainer(
        family, "seed: 3\nstructures: [{layers: '\(layers)', to: '\(spec)'}]", steps: 1, in: folder)
      let tiles = trainer.model.modules().compactMap {
        ($0 as? StructuredLinear)?.structure as? StrassenTile
      }
      return tiles.first.map { "\($0.spec)" }
    }
  }

  @Test(arguments: [
    ("vit", "*.intermediate.dense", "stl:rank=16", "random-3"),
    ("vit", "*.intermediate.dense", "stl:rank=16,encoder=fitted-4-16", "fitted-4-16"),
    ("vit", "*.intermediate.dense", "stl:rank=49", "strassen-squared"),
    ("gpt2", "*.mlp.c_fc", "stl:rank=16,rows=batch", "fitted-4-16"),
    ("mlp", "layers.1", "stl:rank=16", "fitted-4-16"),
  ])
  func tilesOfTokensStartFromRandomTables(
    _ family: String, _ layers: String, _ spec: String, _ name: String
  ) throws {
    let made = try #require(try tiles(family, layers, spec))
    #expect(made.contains("encoder=\(name)"))
  }
}
