import MLX
import TestSupport
import Testing

@Suite struct EngineTests {
  @Test func matrixProductsRunOnOpenBLAS() throws {
    let blas = try #require(Engine.blas)
    #expect(blas.contains("openblas"))
  }

  @Test func aFailedOperationThrowsAtTheEvaluation() throws {
    let product = matmul(MLXArray.zeros([2, 3]), MLXArray.zeros([4, 5])) + 1
    let error = try #require(product.failure)
    #expect(error.description.contains("(2,3)") && error.description.contains("(4,5)"))
    #expect(throws: error) { try product.eval() }
    #expect(throws: MLXError.self) {
      try withError { _ = matmul(MLXArray.zeros([2, 3]), MLXArray.zeros([4, 5])) }
    }
  }

  @Test func gradientsOfAProductAgreeWithDifferences() throws {
    let a = MLXRandom.normal([3, 4], key: MLXRandom.key(1))
    let b = MLXRandom.normal([4, 2], key: MLXRandom.key(2))
    try expectGradient(of: { sum(square(matmul($0[0], $0[1]))) * 0.1 }, at: [a, b])
  }

  @Test func compiledStateIsReadAndWritten() throws {
    final class Counter: Updatable {
      let value = MLXArray(0)
      func innerState() -> [MLXArray] { [value] }
    }
    let counter = Counter()
    let step = compile(inputs: [counter], outputs: [counter]) { arguments in
      let next = counter.value + arguments[0]
      counter.value[ellipsis] = next
      return [next * 2]
    }
    #expect(try step([MLXArray(3)])[0].item(Int32.self) == 6)
    #expect(try step([MLXArray(4)])[0].item(Int32.self) == 14)
    #expect(try counter.value.item(Int32.self) == 7)
  }

  @Test func customGradientsReplaceDerivedOnes() throws {
    let clipped = CustomFunction(
      forward: { [tanh($0[0])] }, backward: { _, cotangents, _ in [cotangents[0] * 7] })
    let gradient = grad { clipped([$0])[0] }(MLXArray(0.3))
    #expect(try gradient.item(Float.self) == 7)
  }

  @Test func slicesFollowPythonsRules() throws {
    let a = arange(24).reshaped(2, 3, 4)
    #expect(try a[1, 0..., 2].asArray(Int32.self) == [14, 18, 22])
    #expect(try a[ellipsis, -1].asArray(Int32.self) == [3, 7, 11, 15, 19, 23])
    #expect(a[0, newAxis].shape == [1, 3, 4])
    #expect(
      try arange(6)[stride(from: 4, to: -1, by: -2)].asArray(Int32.self) == [4, 2, 0])
    let b = arange(6)
    b[1..<3] = MLXArray(9)
    #expect(try b.asArray(Int32.self) == [0, 9, 9, 3, 4, 5])
    #expect(a[2].failure != nil)
  }
}
