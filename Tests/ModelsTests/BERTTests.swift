import Foundation
import MLX
import MLXNN
import OrderedCollections
import TestSupport
import Testing

@testable import Models

@Suite struct BERTTests {
  private func rows<Element: HasDType>(_ array: MLXArray, _ type: Element.Type) throws
    -> [[Element]]
  {
    let flat = try array.asArray(type)
    let width = array.dim(1)
    return (0..<array.dim(0)).map { Array(flat[$0 * width..<($0 + 1) * width]) }
  }

  @Test func hiddenStatesAgreeWithTransformers() throws {
    let golden = try loadArrays(url: Golden.url("bert-odd.safetensors"))
    let input = BERTInput(
      tokens: try rows(#require(golden["tokens"]), Int32.self),
      tokenTypes: try rows(#require(golden["types"]), Int32.self),
      mask: try rows(#require(golden["mask"]), Bool.self))
    let model = try Golden.checkpoint().model
    let hidden = try model(input)
    #expect(hidden.shape == [3, 11, 39])
    try expectClose(hidden, #require(golden["hidden"]), .absolute(1e-4))
    try expectClose(
      #require(model.pooled(hidden)), #require(golden["pooled"]), .absolute(1e-4))
  }

  @Test(arguments: [
    ("gelu", "gelu"), ("gelu_python", "gelu"), ("gelu_new", "gelu_new"),
    ("gelu_pytorch_tanh", "gelu_new"), ("gelu_fast", "gelu_new"), ("relu", "relu"),
    ("silu", "silu"), ("swish", "silu"),
  ])
  func activationsAgreeWithTransformers(name: String, golden: String) throws {
    let arrays = try loadArrays(url: Golden.url("bert-odd.safetensors"))
    try withCheckpoint { folder in
      try editConfiguration(folder) { $0["hidden_act"] = .string(name) }
      let model = try BERTCheckpoint(folder: CheckpointFolder(url: folder)).model
      let input = BERTInput(tokens: try rows(#require(arrays["tokens"]), Int32.self))
      try expectClose(model(input), #require(arrays["hidden.\(golden)"]), .absolute(1e-4))
    }
  }

  @Test func hiddenTokensChangeNothing() throws {
    let model = try Golden.checkpoint().model
    let mask = [Array(repeating: true, count: 5) + [false, false]]
    let one = try model(BERTInput(tokens: [[2, 9, 8, 7, 3, 4, 5]], mask: mask))
    let other = try model(BERTInput(tokens: [[2, 9, 8, 7, 3, 6, 1]], mask: mask))
    try expectClose(one[0..., 0..<5], other[0..., 0..<5], .roundings(64, of: .float32))
    let alone = try model(BERTInput(tokens: [[2, 9, 8, 7, 3]]))
    try expectClose(one[0..., 0..<5], alone, .roundings(64, of: .float32))
  }

  @Test func pathsAreTheNamesOfTheTensors() throws {
    let checkpoint = try Golden.checkpoint()
    #expect(checkpoint.prefix == "")
    #expect(checkpoint.model.parameters().keys.sorted() == checkpoint.folder.tensorNames)
    let dense = checkpoint.model.namedModules().filter { $0.value is Linear }.keys
    #expect(dense.count == 2 * 6 + 1)
    #expect(dense.contains("encoder.layer.0.attention.self.query"))
  }

  @Test(arguments: [
    (BERTInput(tokens: []), "at least one sequence"),
    (BERTInput(tokens: [[]]), "at least one sequence"),
    (BERTInput(tokens: [[1, 2], [1]]), "tokens with 2 columns"),
    (BERTInput(tokens: [[1, 109]]), "tokens from 0 to 108, got 109 in row 0 at position 1"),
    (BERTInput(tokens: [[1], [-1]]), "got -1 in row 1"),
    (BERTInput(tokens: [Array(repeating: 1, count: 25)]), "at most 24 tokens, got 25"),
    (BERTInput(tokens: [[1, 2]], tokenTypes: [[0, 2]]), "token types from 0 to 1, got 2"),
    (BERTInput(tokens: [[1, 2]], tokenTypes: [[0]]), "token types with 2 columns in a row, got 1"),
    (
      BERTInput(tokens: [[1, 2]], mask: [[true, true], [true, true]]), "a mask with 1 rows, got 2"
    ),
    (BERTInput(tokens: [[1, 2], [3, 4]], mask: [[true, false], [false, false]]), "row 1"),
  ])
  func wrongInputsThrow(_ input: BERTInput, _ words: String) throws {
    let model = BERTModel(
      BERTConfiguration(
        vocabularySize: 109, hiddenSize: 4, layerCount: 1, headCount: 2, intermediateSize: 4,
        maximumLength: 24))
    let error = try #require(throws: TokenInputError.self) { try model(input) }
    #expect(error.description.contains(words))
  }

  @Test func theModelCanBeTrainedThroughEveryParameter() throws {
    let model = try Golden.checkpoint().model
    let tokens = MLXArray([2, 20, 30, 3] as [Int32], [1, 4])
    let step = valueAndGrad(model: model) { model, tokens, _ in
      let hidden = model.hiddenStates(tokens: tokens)
      let pooled = model.pooled(hidden).map { sum($0) }
      return mean(square(hidden)) + (pooled ?? MLXArray(0))
    }
    let (loss, gradients) = step(model, tokens, tokens)
    try eval([loss] + Array(gradients.values))
    #expect(gradients.count == model.parameters().count)
  }
}
