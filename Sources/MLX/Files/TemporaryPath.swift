import Foundation
import Synchronization

#if canImport(Glibc)
  import Glibc
#endif

/// A file or folder that is not to outlive its writer under its temporary name.
///
/// The process knows all of them, so that one that is interrupted can delete what is half-written.
package struct TemporaryPath: Sendable {
  private static let pending = Mutex<Set<String>>([])

  private let path: String

  package init(_ path: String) {
    self.path = path
    _ = TemporaryPath.pending.withLock { $0.insert(path) }
  }

  /// Deletes what is there, if anything is: after a rename nothing is.
  package func remove() {
    TemporaryPath.pending.withLock {
      try? FileManager.default.removeItem(atPath: path)
      $0.remove(path)
    }
  }

  /// Gives what is there its final name; a folder of that name is moved out of the way and deleted.
  ///
  /// The lock is held: an interruption comes before or after, when there is one whole folder.
  package func move(to target: String) throws {
    try TemporaryPath.pending.withLock {
      let old = path + ".old"
      let replaces = rename(target, old) == 0
      guard replaces || errno == ENOENT else { throw FileError.last("replace", target) }
      guard rename(path, target) == 0 else {
        let error = FileError.last("write", target)
        if replaces { rename(old, target) }
        throw error
      }
      $0.remove(path)
      if replaces { try? FileManager.default.removeItem(atPath: old) }
    }
  }

  /// Deletes everything half-written, and lets nobody begin or finish anything more.
  private static func removeAllAndEnd(_ signal: CInt) {
    pending.withLock {
      for path in $0 {
        // The writer still runs and may add files to a folder that is being deleted.
        for _ in 0..<100 where FileManager.default.fileExists(atPath: path) {
          try? FileManager.default.removeItem(atPath: path)
        }
      }
      Glibc.signal(signal, SIG_DFL)
      kill(getpid(), signal)
      while true { pause() }
    }
  }
}

// MARK: - Interruption

extension TemporaryPath {
  /// The end of a pipe that the signal handler writes to, the only safe thing for it to do.
  private static let writer = Atomic<CInt>(-1)

  /// From now on an interruption (SIGINT, SIGTERM, SIGHUP) deletes what is half-written and then
  /// ends the process as it would have.
  package static func deleteAllWhenInterrupted() throws {
    var ends: [CInt] = [-1, -1]
    guard pipe(&ends) == 0 else { throw FileError.last("open", "a pipe") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    let reader = ends[0]
    writer.store(ends[1], ordering: .sequentiallyConsistent)
    // A handler, not a blocked or ignored signal: child processes would inherit those.
    for signal in [SIGINT, SIGTERM, SIGHUP] {
      Glibc.signal(signal) { number in
        var byte = UInt8(truncatingIfNeeded: number)
        _ = write(TemporaryPath.writer.load(ordering: .sequentiallyConsistent), &byte, 1)
      }
    }
    let thread = Thread {
      var byte = UInt8(0)
      while read(reader, &byte, 1) < 1 {}
      TemporaryPath.removeAllAndEnd(CInt(byte))
    }
    thread.start()
  }
}
