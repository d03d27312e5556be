import Foundation
import MLX
import Operators
import OrderedCollections
import TestSupport
import Testing

/// Against PyTorch: `scripts/golden/operators.py` computes each structure from its definition.
@Suite struct GoldenTests {
  /// The arrays of the golden file by case, `SPEC|K|N`, and name.
  private static func cases() throws -> [String: [String: MLXArray]] {
    let url = try #require(
      Bundle.module.url(forResource: "Golden/operators", withExtension: "safetensors"))
    var cases: [String: [String: MLXArray]] = [:]
    for (key, array) in try loadArrays(url: url) {
      let parts = key.split(separator: "|")
      cases[parts.dropLast().joined(separator: "|"), default: [:]][String(parts[3])] = array
    }
    return cases
  }

  @Test func forwardAndGradientsAgreeWithPyTorch() throws {
    let cases = try Self.cases()
    #expect(cases.count == 17)
    for (label, arrays) in cases {
      let parts = label.split(separator: "|").map(String.init)
      let operation = try OperatorSpec(parsing: parts[0])
        .makeOperator(inputs: try #require(Int(parts[1])), outputs: try #require(Int(parts[2])))
      let parameters = Parameters(
        uniqueKeysWithValues: try operation.shapes.keys.map { ($0, try #require(arrays[$0])) })
      let x = try #require(arrays["x"])
      let probe = try #require(arrays["probe"])
      let expected = try #require(arrays["y"])
      try expectClose(operation.apply(x, parameters), expected, .roundings(32, of: .float32))
      let weight = try #require(operation.dense(parameters))
      try expectClose(matmul(x, weight.transposed()), expected, .roundings(32, of: .float32))

      let names = trained(parameters)
      let arguments = [x] + names.compactMap { parameters[$0] }
      let (_, gradients) = try valueAndGrad(
        arguments, argumentNumbers: Array(arguments.indices)
      ) { moved in
        var inner = parameters
        for (name, array) in zip(names, moved.dropFirst()) { inner[name] = array }
        return [sum(probe * operation.apply(moved[0], inner))]
      }
      for (name, gradient) in zip(["dx"] + names.map { "d:" + $0 }, gradients) {
        try expectClose(
          gradient, try #require(arrays[name]), .roundings(64, of: .float32))
      }
    }
  }
}
