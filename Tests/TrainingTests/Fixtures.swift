import Foundation
import MLX
import MLXNN
import Models
import TestSupport
import Testing

@testable import Training

/// Small recipes and data, one model of each family.
enum Small {
  /// A recipe's `model` line.
  static let models = [
    "mlp": "{type: mlp, image_size: 8, num_channels: 1, hidden_size: 16, num_hidden_layers: 2, "
      + "num_labels: 3, hidden_act: relu}",
    "vit": "{type: vit, image_size: 8, patch_size: 4, num_channels: 1, hidden_size: 16, "
      + "num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32, num_labels: 3}",
    "t2t_vit": "{type: t2t_vit, image_size: 16, num_channels: 1, token_size: 8, hidden_size: 16, "
      + "num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 32, num_labels: 3}",
    "gpt2": "{type: gpt2, vocab_size: 12, n_positions: 8, n_embd: 16, n_layer: 1, n_head: 2}",
    "llama": "{type: llama, vocab_size: 12, max_position_embeddings: 8, hidden_size: 16, "
      + "num_hidden_layers: 1, num_attention_heads: 4, num_key_value_heads: 2, "
      + "intermediate_size: 24}",
  ]

  /// A recipe of a family with more keys.
  static func recipe(
    _ model: String, _ keys: String = "", steps: Int = 8, batch: Int = 8, in folder: URL
  ) throws -> Recipe {
    try Recipe(
      """
      model: \(models[model] ?? model)
      data: none
      output: run
      steps: \(steps)
      batch: \(batch)
      compile: false
      \(keys)
      """, folder: folder)
  }

  /// Learnable data for a family: sequences that count upwards, images with a bright third.
  static func data(_ model: String) throws -> TrainingData {
    let count = 48
    if model == "gpt2" || model == "llama" {
      let tokens = (0..<count).flatMap { row in (0..<8).map { Int32((row * 5 + $0) % 12) } }
      let inputs = MLXArray(tokens, [count, 8])
      let targets = (inputs + 1) % MLXArray(Int32(12))
      return TrainingData(
        train: try ArraySource(inputs: inputs, targets: targets),
        validation: try ArraySource(inputs: inputs[..<16], targets: targets[..<16]))
    }
    let side = model == "t2t_vit" ? 16 : 8
    let classes = (0..<count).map { Int32($0 % 3) }
    let noise = MLXRandom.normal([count, side, side, 1], key: MLXRandom.key(3))
    let rows = MLXArray((0..<side).map { Int32($0 * 3 / side) }, [1, side, 1, 1])
    let bright = (rows .== MLXArray(classes, [count, 1, 1, 1])).asType(.float32)
    let inputs = noise * 0.3 + bright
    let targets = MLXArray(classes, [count])
    try eval(inputs, targets)
    return TrainingData(
      train: try ArraySource(inputs: inputs, targets: targets),
      validation: try ArraySource(inputs: inputs[..<16], targets: targets[..<16]))
  }

  /// A trainer of a family.
  static func trainer(
    _ model: String, _ keys: String = "", steps: Int = 8, batch: Int = 8, in folder: URL
  ) throws -> Trainer {
    try Trainer(
      recipe: recipe(model, keys, steps: steps, batch: batch, in: folder), data: data(model))
  }
}

/// Throws where two models do not have the same parameters, bit for bit.
func expectSameBits(
  _ first: some Sequence<(key: String, value: MLXArray)>, _ second: [String: MLXArray],
  _ location: SourceLocation = #_sourceLocation
) throws {
  var count = 0
  for (path, value) in first {
    let other = try #require(second[path], "\(path)", sourceLocation: location)
    #expect(
      try value.dtype == other.dtype && arrayEqual(value, other).item(Bool.self), "\(path)",
      sourceLocation: location)
    count += 1
  }
  #expect(count == second.count && count > 0, sourceLocation: location)
}

extension Trainer {
  /// The model's parameters as they are now.
  func parameters() throws -> [String: MLXArray] {
    let copies = model.parameters().map { ($0.key, $0.value + 0) }
    try eval(copies.map(\.1))
    return Dictionary(uniqueKeysWithValues: copies)
  }
}
