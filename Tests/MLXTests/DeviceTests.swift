import Foundation
import MLX
import TestSupport
import Testing

@Suite struct DeviceTests {
  @Test func theCPUIsAlwaysThere() throws {
    #expect(Device.cpu.isAvailable)
    #expect(!Device.cpu.information.isEmpty)
    let before = Device.default
    try Device.withDefaultDevice(.cpu) {
      #expect(Device.default == .cpu)
      let two = try (MLXArray(1) + 1).item(Int.self)
      #expect(two == 2)
    }
    #expect(Device.default == before)
    #expect(throws: CancellationError.self) {
      try Device.withDefaultDevice(.cpu) { throw CancellationError() }
    }
    #expect(Device.default == before)
  }

  @Test(.enabled(if: !Device.gpu.isAvailable, "only where there is no GPU"))
  func aMissingGPUThrows() {
    #expect(throws: MLXError.self) { try Device.withDefaultDevice(.gpu) {} }
    #expect(throws: MLXError.self) { try Stream(.gpu) }
    #expect(Device.gpu.information.isEmpty)
  }

  @Test func streamsComputeTheSame() throws {
    let stream = try Stream(.cpu)
    let before = try Stream.default(.cpu)
    #expect(stream != before)
    let a = MLXRandom.normal([8, 8], key: MLXRandom.key(0))
    let product = try stream.asDefault {
      let now = try Stream.default(.cpu)
      #expect(now == stream)
      return matmul(a, a)
    }
    #expect(try Stream.default(.cpu) == before)
    try asyncEval(product)
    try stream.synchronize()
    try expectClose(product, matmul(a, a), .roundings(16, of: .float32))
  }

  @Test func memoryIsCounted() throws {
    let bytes = 1 << 22
    let a = MLXArray.ones([bytes / 4]) + 1
    try a.eval()
    #expect(Memory.active >= bytes && Memory.peak >= bytes)
    // Withhold nothing from the tests that run beside this one: the limits go back to what they were.
    let limit = Memory.setCacheLimit(1 << 20)
    #expect(Memory.setCacheLimit(limit) == 1 << 20)
    let most = Memory.setLimit(1 << 40)
    #expect(Memory.setLimit(most) == 1 << 40)
    Memory.resetPeak()
    Memory.clearCache()
    #expect(Memory.cache >= 0)
    try a.eval()
  }

  @Test func theEngineNamesItself() {
    #expect(Engine.version.split(separator: ".").count >= 3)
    #expect(Engine.origin(ofSymbol: "no_such_symbol_anywhere") == nil)
    #expect(Engine.blasThreads >= 1)
  }

  @Test func aGroupOfOneIsItsOwnSum() throws {
    let group = try DistributedGroup()
    try #require(group.size == 1)
    #expect(group.rank == 0)
    let x = MLXArray([1, 2] as [Float])
    for result in [group.allSum(x), group.allGather(x), group.sumScatter(x)] {
      #expect(try result.asArray(Float.self) == [1, 2])
    }
    #expect(throws: MLXError.self) { try DistributedGroup(strict: true, backend: "none") }
    #expect(!DistributedGroup.isAvailable(backend: "none"))
  }

  @Test func threadsComputeIndependently() throws {
    let count = 4
    let results = Results()
    let group = DispatchGroup()
    for index in 0..<count {
      let thread = Thread {
        defer { group.leave() }
        // Everything a thread needs is made on it: random state, streams, compiled functions.
        for round in 0..<10 {
          let seed = UInt64(index * 100 + round)
          let a = MLXRandom.normal([16, 16], key: MLXRandom.key(seed))
          let gradient = grad { sum(square(matmul($0, $0))) }(a)
          let by = 2 * (matmul(matmul(a, a), a.T) + matmul(a.T, matmul(a, a)))
          let difference = try? abs(gradient - by).max().item(Float.self)
          let failed = matmul(a, MLXArray.ones([index + 20, 2])).failure?.description
          results.append(
            (difference ?? .nan) < 1e-2 && failed?.contains("(\(index + 20),2)") == true)
        }
      }
      group.enter()
      thread.start()
    }
    #expect(group.wait(timeout: .now() + 60) == .success)
    #expect(results.values == Array(repeating: true, count: count * 10))
  }

  /// What the threads found.
  ///
  /// `@unchecked Sendable`: every access holds the lock.
  private final class Results: @unchecked Sendable {
    private let lock = NSLock()
    private var found: [Bool] = []
    func append(_ value: Bool) { lock.withLock { found.append(value) } }
    var values: [Bool] { lock.withLock { found } }
  }
}
