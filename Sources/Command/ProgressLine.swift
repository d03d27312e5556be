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

/// Ctrl-C, seen at the next step of the work, so that nothing is left half-done.
enum Interruption: Error, CustomStringConvertible {
  case interrupted

  var description: String { "interrupted; nothing was written." }

  /// What a shell reports for a program that SIGINT ended.
  static let exitCode: Int32 = 128 + SIGINT

  private static let requested = Atomic(false)

  /// Whether Ctrl-C was pressed.
  static var isRequested: Bool { requested.load(ordering: .relaxed) }

  /// Takes Ctrl-C, and other signals that ask, over from the system: the first asks, the second ends
  /// the process at once, as SIGTERM and SIGHUP do, after what is half-written has been deleted.
  static func watch(alsoOn others: [CInt] = []) throws {
    try TemporaryPath.deleteAllWhenInterrupted()
    for number in [SIGINT] + others {
      signal(number) { _ in
        if Interruption.requested.exchange(true, ordering: .relaxed) { kill(getpid(), SIGTERM) }
      }
    }
  }

  /// Throws if Ctrl-C was pressed.
  static func check() throws {
    if isRequested { throw Interruption.interrupted }
  }
}
