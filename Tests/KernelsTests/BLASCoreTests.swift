import MLX
import Testing

@testable import Kernels

@Suite struct BLASCoreTests {
  @Test(arguments: [
    ("Prescott", CPU.Level.avx512, "SKYLAKEX" as String?), ("Prescott", .avx2, "HASWELL"),
    ("Nehalem", .avx2, "HASWELL"), ("Prescott", .portable, nil), ("Haswell", .avx512, nil),
    ("SkylakeX", .avx512, nil), ("Zen", .avx2, nil), ("Cooperlake", .avx512, nil),
  ])
  func onlyAProcessorWithNarrowerKernelsIsRenamed(
    core: String, level: CPU.Level, expected: String?
  ) {
    #expect(CPU.missingBLASCore(of: core, level) == expected)
  }

  @Test func aCoreIsKnown() {
    #expect(!Engine.blasCore.isEmpty && Engine.blasCore != "unknown")
  }
}
