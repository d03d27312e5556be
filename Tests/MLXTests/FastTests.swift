import Foundation
import MLX
import TestSupport
import Testing

/// The kernels that MLX has as one against the operations they are made of.
@Suite struct FastTests {
  private let keys = MLXRandom.split(key: MLXRandom.key(0), into: 5)

  @Test func layerNormIsItsComposition() throws {
    let x = MLXRandom.normal([3, 4, 8], key: keys[0])
    let (w, b) = (MLXRandom.normal([8], key: keys[1]), MLXRandom.normal([8], key: keys[2]))
    func composed(_ x: MLXArray) -> MLXArray {
      let centered = x - x.mean(axis: -1, keepDims: true)
      return centered * rsqrt(variance(x, axis: -1, keepDims: true) + 1e-5)
    }
    let tolerance = Tolerance.roundings(16, of: .float32)
    try expectClose(
      MLXFast.layerNorm(x, weight: w, bias: b, eps: 1e-5), composed(x) * w + b, tolerance)
    try expectClose(MLXFast.layerNorm(x, weight: w, eps: 1e-5), composed(x) * w, tolerance)
    try expectClose(MLXFast.layerNorm(x, bias: b, eps: 1e-5), composed(x) + b, tolerance)
    try expectClose(MLXFast.layerNorm(x, eps: 1e-5), composed(x), tolerance)
    try expectGradient(
      of: { sum(square(MLXFast.layerNorm($0[0], weight: $0[1], bias: $0[2], eps: 1e-5))) * 0.01 },
      at: [x, w, b])
  }

  @Test func rmsNormIsItsComposition() throws {
    let x = MLXRandom.normal([3, 8], key: keys[0])
    let w = MLXRandom.normal([8], key: keys[1])
    let composed = x * rsqrt(square(x).mean(axis: -1, keepDims: true) + 1e-5)
    let tolerance = Tolerance.roundings(16, of: .float32)
    try expectClose(MLXFast.rmsNorm(x, weight: w, eps: 1e-5), composed * w, tolerance)
    try expectClose(MLXFast.rmsNorm(x, eps: 1e-5), composed, tolerance)
    try expectGradient(
      of: { sum(square(MLXFast.rmsNorm($0[0], weight: $0[1], eps: 1e-5))) * 0.01 }, at: [x, w])
  }

  @Test(arguments: [true, false])
  func rotationsAreTheirComposition(_ traditional: Bool) throws {
    let (count, size, dimensions, offset) = (3, 10, 8, 5)
    let x = MLXRandom.normal([2, count, size], key: keys[0])
    let values = try x.asArray(Double.self)
    var expected = values
    for row in 0..<(2 * count) {
      for pair in 0..<(dimensions / 2) {
        let angle =
          Double(row % count + offset) * Foundation.pow(100, -2 * Double(pair) / Double(dimensions))
        let first = row * size + (traditional ? 2 * pair : pair)
        let second = row * size + (traditional ? 2 * pair + 1 : pair + dimensions / 2)
        let (a, b) = (values[first], values[second])
        expected[first] = a * Foundation.cos(angle) - b * Foundation.sin(angle)
        expected[second] = a * Foundation.sin(angle) + b * Foundation.cos(angle)
      }
    }
    let turned = MLXFast.RoPE(
      x, dimensions: dimensions, traditional: traditional, base: 100, scale: 1, offset: offset)
    expectClose(try turned.asArray(Double.self), expected, .roundings(64, of: .float32))
  }

  /// softmax(q kᵀ · scale + mask) v of [B, H, T, D], with heads of keys repeated.
  private func attention(
    _ q: MLXArray, _ k: MLXArray, _ v: MLXArray, scale: Float, added: MLXArray? = nil
  ) -> MLXArray {
    let count = q.dim(1) / k.dim(1)
    let (k, v) = (repeated(k, count: count, axis: 1), repeated(v, count: count, axis: 1))
    let scores = matmul(q, k.swappedAxes(-1, -2)) * scale
    return matmul(softmax(added.map { scores + $0 } ?? scores, axis: -1), v)
  }

  @Test(arguments: [2, 4])
  func attentionIsItsComposition(_ keyHeads: Int) throws {
    let q = MLXRandom.normal([2, 4, 5, 8], key: keys[0])
    let k = MLXRandom.normal([2, keyHeads, 6, 8], key: keys[1])
    let v = MLXRandom.normal([2, keyHeads, 6, 8], key: keys[2])
    func ours(_ mask: MLXFast.AttentionMask) -> MLXArray {
      MLXFast.scaledDotProductAttention(queries: q, keys: k, values: v, scale: 0.3, mask: mask)
    }
    let tolerance = Tolerance.roundings(32, of: .float32)
    try expectClose(ours(.none), attention(q, k, v, scale: 0.3), tolerance)
    let added = MLXRandom.normal([5, 6], key: keys[3])
    try expectClose(ours(.array(added)), attention(q, k, v, scale: 0.3, added: added), tolerance)
    let seen = MLXRandom.bernoulli(0.7, [2, 1, 5, 6], key: keys[4])
    let hidden = which(seen, MLXArray(Float(0)), MLXArray(Float(-1e9)))
    try expectClose(ours(.array(seen)), attention(q, k, v, scale: 0.3, added: hidden), tolerance)
    // The last query is at the position of the last key.
    let later = (arange(6).reshaped(1, 6) .> (arange(5).reshaped(5, 1) + 1)).asType(.float32) * -1e9
    try expectClose(ours(.causal), attention(q, k, v, scale: 0.3, added: later), tolerance)
    try expectGradient(
      of: { arrays in
        sum(
          square(
            MLXFast.scaledDotProductAttention(
              queries: arrays[0], keys: arrays[1], values: arrays[2], scale: 0.3))) * 0.01
      }, at: [q, k, v])
  }

  @Test func wrongShapesFail() {
    let x = MLXArray.ones([1, 2, 3, 4])
    for array in [
      MLXFast.layerNorm(x, weight: MLXArray.ones([3]), eps: 0),
      MLXFast.rmsNorm(x, weight: MLXArray.ones([3]), eps: 0),
      MLXFast.RoPE(
        x[0, 0], dimensions: 4, traditional: false, base: 1, scale: 1, offset: 0),
      MLXFast.scaledDotProductAttention(
        queries: x, keys: x[ellipsis, ..<3], values: x, scale: 1),
      MLXFast.scaledDotProductAttention(
        queries: x, keys: x, values: x, scale: 1, mask: .array(MLXArray.ones([7, 7]))),
    ] { #expect(array.failure != nil) }
  }
}
