import Foundation
import TestSupport
import Testing

@Suite struct BenchTests {
  /// `timeout` sends its signal twice.
  @Test func whatWasMeasuredIsPrintedWhenSignalsCome() throws {
    try withTemporaryFolder { folder in
      let patterns = folder.appending(path: "patterns.txt")
      try Data(String(repeating: "1x64x64x4\n", count: 400).utf8).write(to: patterns)
      let result = try Tool.run(
        [
          "bench", "factors", "--patterns", patterns.path, "--batch", "256", "--device", "cpu",
          "--energy", "0",
        ], interruptAt: "measure", signal: SIGTERM, times: 2)
      #expect(result.status == 143)
      #expect(result.errors.contains("interrupted after"), "\(result.errors)")
      #expect(result.errors.contains("of 400 patterns."))
      #expect(result.output.contains("1x64x64x4"), "\(result.output)")
    }
  }
}
