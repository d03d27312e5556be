import Foundation
import TestSupport
import Testing

@testable import MLX
@testable import Models

@Suite struct InterruptionTests {
  /// Runs in another process, which is interrupted when all files of a checkpoint are written but
  /// its folder does not yet have its name.
  @Test(arguments: [SIGINT, SIGTERM])
  func anInterruptedWriteLeavesNothing(_ signal: Int32) async throws {
    let folder = FileManager.default.temporaryDirectory
      .appending(path: "tessera-test-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let expected = ExitTest.Condition.signal(signal)
    await #expect(processExitsWith: expected) {
      [path = folder.path as String, signal = signal as Int32] in
      try TemporaryPath.deleteAllWhenInterrupted()
      try Golden.checkpoint().write(to: URL(filePath: path).appending(path: "out")) { temporary in
        let written = try FileManager.default.contentsOfDirectory(atPath: temporary.path)
        guard written.count == 3 else { exit(1) }
        kill(getpid(), signal)
        while true { pause() }
      }
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
  }
}
