import ArgumentParser
import Foundation
import Synchronization
import Tessera

/// Progress on standard error: a bar that is drawn over on a terminal, a line a tenth elsewhere.
final class ProgressLine {
  private let isTerminal = isatty(STDERR_FILENO) == 1
  private var last = ""

  /// Shows how far a stage is.
  func show(_ stage: String, _ completed: Int, _ total: Int, _ detail: String?) {
    let share = Double(completed) / Double(max(1, total))
    let percent = Int(share * 100)
    if isTerminal {
      let filled = Int(share * 30)
      let bar = String(repeating: "█", count: filled) + String(repeating: "·", count: 30 - filled)
      write("\r\u{1B}[K\(stage) \(bar) \(percent)%  \(detail ?? "")")
      if completed >= total { write("\n") }
    } else if "\(stage) \(percent / 10)" != last {
      last = "\(stage) \(percent / 10)"
      write("\(stage) \(percent)%  \(detail ?? "")\n")
    }
  }

  private func write(_ text: String) {
    FileHandle.standardError.write(Data(text.utf8))
  }
}

/// Ctrl-C or SIGTERM, seen at the next step of the work, so that nothing is left half-done.
enum Interruption: Error, CustomStringConvertible {
  case interrupted

  var description: String { "interrupted; nothing was written." }

  /// What a shell reports for a program that SIGTERM, or else SIGINT, ended.
  static var exitCode: Int32 {
    128 + (requested.load(ordering: .relaxed) == SIGTERM ? SIGTERM : SIGINT)
  }

  /// The signal that asked first, or 0, and when it did, in seconds.
  private static let requested = Atomic<CInt>(0)
  private static let time = Atomic<Int>(0)

  /// Whether a signal asked to stop.
  static var isRequested: Bool { requested.load(ordering: .relaxed) != 0 }

  /// Takes Ctrl-C, SIGTERM and other signals that ask over from the system: the first asks, another one from
  /// the second after it on ends the process at once, as SIGHUP does, after what is half-written has been deleted.
  ///
  /// Not before: coreutils' `timeout` asks twice, the process and then its group.
  static func watch(alsoOn others: [CInt] = []) throws {
    try TemporaryPath.deleteAllWhenInterrupted()
    for number in [SIGINT, SIGTERM] + others {
      signal(number) { number in
        let (isFirst, _) = Interruption.requested.compareExchange(
          expected: 0, desired: number, ordering: .relaxed)
        let now = Foundation.time(nil)
        if isFirst {
          Interruption.time.store(now, ordering: .relaxed)
        } else if now > Interruption.time.load(ordering: .relaxed) + 1 {
          kill(getpid(), SIGHUP)
        }
      }
    }
  }

  /// Ends a command that was asked to stop and has written what it had: says so, and throws the exit code.
  static func end(_ what: String) throws -> Never {
    FileHandle.standardError.write(Data("interrupted\(what)\n".utf8))
    throw ExitCode(exitCode)
  }

  /// Throws if a signal asked to stop.
  static func check() throws {
    if isRequested { throw Interruption.interrupted }
  }
}
