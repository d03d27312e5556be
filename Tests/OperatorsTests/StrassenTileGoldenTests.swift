import Encoders
import Foundation
import MLX
import Operators
import OrderedCollections
import TestSupport
import Testing

/// Against PyTorch: `scripts/golden/strassen_tile.py` computes the layer number by number.
@Suite struct StrassenTileGoldenTests {
  @Test func forwardAndGradientsAgreeWithExplicitLoops() throws {
    let url = try #require(
      Bundle.module.url(forResource: "Golden/strassen-tile", withExtension: "safetensors"))
    var cases: [String: [String: MLXArray]] = [:]
    for (key, array) in try loadArrays(url: url) {
      let parts = key.split(separator: "|")
      cases[parts.dropLast().joined(separator: "|"), default: [:]][String(parts[5])] = array
    }
    #expect(cases.count == 9)
    for (label, arrays) in cases {
      let parts = label.split(separator: "|").map(String.init)
      let sizes = try [0, 1, 3, 4].map { try #require(Int(parts[$0])) }
      let zeros = [Double](repeating: 0, count: sizes[1] * sizes[0] * sizes[0])
      let layer = StrassenTile(
        inputs: sizes[2], outputs: sizes[3],
        encoder: try Encoder(
          name: "golden", tile: sizes[0], rank: sizes[1], activation: zeros, weight: zeros,
          decoder: zeros, provenance: .init(source: "none")),
        rows: try #require(RowPolicy(rawValue: parts[2])))
      let names = Array(layer.shapes.keys)
      let arguments = try (["x"] + names).map { try #require(arrays[$0]) }
      let probe = try #require(arrays["probe"])
      func product(_ arguments: [MLXArray]) -> MLXArray {
        layer.apply(
          arguments[0], Parameters(uniqueKeysWithValues: zip(names, arguments.dropFirst())))
      }
      try expectClose(
        product(arguments), try #require(arrays["y"]), .roundings(32, of: .float32))
      let (_, gradients) = try valueAndGrad(
        arguments, argumentNumbers: Array(arguments.indices)
      ) { [sum(probe * product($0))] }
      for (name, gradient) in zip(["x"] + names, gradients) {
        try expectClose(
          gradient, try #require(arrays["d:" + name]), .roundings(64, of: .float32))
      }
    }
  }
}
