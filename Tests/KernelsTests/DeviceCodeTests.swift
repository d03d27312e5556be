import Foundation
import MLX
import Testing

@testable import Kernels

@Suite struct DeviceCodeTests {
  private static let folder = URL(filePath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Sources/Kernels/DeviceCode")

  @Test func theProgramCarriesEveryFileOfTheFolder() throws {
    let names = try FileManager.default.subpathsOfDirectory(atPath: Self.folder.path)
      .filter { $0.contains(".cu") }
    #expect(Set(names) == Set(DeviceCode.files.keys))
    for (name, text) in DeviceCode.files {
      let file = try String(contentsOf: Self.folder.appending(path: name), encoding: .utf8)
      #expect(text == file, "\(name)")
    }
  }

  @Test func sourcesAreClosedUnderInclusion() {
    for name in DeviceCode.files.keys {
      let closure = DeviceCode.closure(of: name)
      #expect(closure?.contains(name) == true, "\(name)")
    }
    #expect(DeviceCode.closure(of: "StrassenEncode.cu")?.contains("Element.cuh") == true)
    #expect(DeviceCode.closure(of: "none.cu") == nil)
  }

  @Test func namesTellVariantsApart() {
    let variant = KernelVariant(
      file: "StrassenEncode.cu", role: "strassen_encode", options: ["RANK": 7, "ELEMENT": 0])
    #expect(variant.name == "strassen_encode_element0_rank7")
    #expect(
      variant.arguments(architecture: "sm_80") == [
        "--gpu-architecture=sm_80", "--std=c++17",
        "-DTESSERA_KERNEL=strassen_encode_element0_rank7", "-DTESSERA_ELEMENT=0",
        "-DTESSERA_RANK=7",
      ])
  }

  @Test func aKernelOfATableIsMadeOnce() throws {
    let table = Memo<Int, CUDAKernel>()
    var made = 0
    func kernel(_ key: Int) throws(KernelError) -> CUDAKernel {
      try table.value(key) { () throws(KernelError) in
        made += 1
        do { return try CUDAKernel(name: "none\(key)", binary: [0]) } catch {
          throw KernelError("\(error)")
        }
      }
    }
    let first = try kernel(1)
    #expect(try kernel(1) === first && kernel(2) !== first)
    #expect(made == 2)
    #expect(throws: KernelError.self) {
      try table.value(3) { () throws(KernelError) in throw KernelError("none") }
    }
    #expect(try kernel(3).name == "none3", "a failure is not kept")
  }

  /// What a launch without a GPU gives: an error, not the end of the process.
  @Test(.enabled(if: !Device.gpu.isAvailable, "there is a GPU"))
  func aLaunchWithoutAGPUIsAnError() throws {
    let kernel = try CUDAKernel(name: "none", binary: [0])
    let results = kernel(
      [MLXArray(1)], outputs: [.init([2], .float32)], grid: .init(1), block: .init(1))
    #expect(results.count == 1)
    #expect(throws: MLXError.self) { try eval(results) }
    #expect(throws: KernelError.self) { try GPU.current.get() }
    #expect(throws: KernelError.self) { try KernelLibrary.current.get() }
  }

  @Test func sizesBeyondInt32AreRefused() throws {
    let kernel = try CUDAKernel(name: "none", binary: [0])
    let results = kernel(
      [], outputs: [.init([1], .int32)], grid: .init(1 << 30), block: .init(256))
    #expect(results[0].failure?.description.contains("fewer rows") == true)
  }
}
