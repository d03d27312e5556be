import MLX
import Testing
import TestSupport

@testable import Training

@Suite struct BatchTests {
  @Test func aBatchKeepsItsParts() throws {
    let batch = Batch(inputs: MLXArray([1, 2, 3, 4], [2, 2]), targets: MLXArray([0, 1]))
    #expect(batch.inputs.shape == [2, 2])
    #expect(batch.targets.shape == [2])
  }
}
