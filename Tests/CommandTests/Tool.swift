import Foundation
import Models
import TestSupport
import Testing

/// The built command, run as a user runs it.
enum Tool {
  /// How a run ended and what it wrote.
  struct Result {
    var status: Int32
    var wasKilled: Bool
    var output: String
    var errors: String

    /// The error lines beside progress.
    var sentences: [Substring] {
      errors.split(separator: "\n").filter { !$0.contains("%") }
    }
  }

  static let hasTokenizers =
    (try? PythonInterpreter.find().folder(ofPackage: "tokenizers")) != nil
  static let missing: Comment = "the Python package tokenizers is not installed"

  /// The program beside the one that runs the tests.
  static let program = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
    .deletingLastPathComponent().appending(path: "tessera")

  /// Runs the command, under a launcher if one is given.
  ///
  /// With `interruptAt` it sends a signal once the errors have that text, or `times` of it; `watch` is called with the
  /// process's id until it is done.
  static func run(
    _ arguments: [String], under launcher: [String] = [], interruptAt mark: String? = nil,
    signal: Int32 = SIGINT, times: Int = 1,
    limit: Duration = .seconds(60), watch: (pid_t) throws -> Void = { _ in }
  ) throws -> Result {
    try withTemporaryFolder { folder in
      let files = ["output", "errors"].map { folder.appending(path: $0) }
      for file in files { try Data().write(to: file) }
      let process = Process()
      process.executableURL = launcher.first.map { URL(filePath: $0) } ?? program
      process.arguments =
        launcher.dropFirst() + (launcher.isEmpty ? [] : [program.path]) + arguments
      // Where a test has joined MPI, what that left here would make a launcher think it is inside.
      process.environment = ProcessInfo.processInfo.environment.filter { name, _ in
        !["OMPI_", "PMIX_", "OPAL_"].contains { name.hasPrefix($0) }
      }
      process.standardInput = FileHandle.nullDevice
      process.standardOutput = try FileHandle(forWritingTo: files[0])
      process.standardError = try FileHandle(forWritingTo: files[1])
      func text(_ index: Int) throws -> String {
        String(decoding: try Data(contentsOf: files[index]), as: UTF8.self)
      }
      // Threads that tests run on block signals, and a child would inherit that.
      var (none, blocked) = (sigset_t(), sigset_t())
      sigemptyset(&none)
      pthread_sigmask(SIG_SETMASK, &none, &blocked)
      do {
        defer { pthread_sigmask(SIG_SETMASK, &blocked, nil) }
        try process.run()
      }
      let end = ContinuousClock.now + limit
      var isAwaited = mark != nil
      while process.isRunning {
        if isAwaited, let mark, try text(1).contains(mark) {
          for _ in 0..<times {
            kill(process.processIdentifier, signal)
            // Two that are pending are one.
            Thread.sleep(forTimeInterval: 0.02)
          }
          isAwaited = false
        }
        if ContinuousClock.now > end {
          kill(process.processIdentifier, SIGKILL)
          Issue.record("\(arguments.first ?? "") took longer than \(limit)")
        }
        try watch(process.processIdentifier)
        Thread.sleep(forTimeInterval: 0.002)
      }
      return Result(
        status: process.terminationStatus, wasKilled: process.terminationReason != .exit,
        output: try text(0), errors: try text(1))
    }
  }
}

/// Runs the body with a folder that holds a copy of the small model as `model` and texts, one a
/// line, as `texts.txt`.
func withModel<Result>(_ body: (URL) throws -> Result) throws -> Result {
  try withTemporaryFolder { folder in
    try FileManager.default.copyItem(
      at: SmallModel.folder, to: folder.appending(path: "model"))
    try Data(SmallModel.sentences.joined(separator: "\n").utf8)
      .write(to: folder.appending(path: "texts.txt"))
    return try body(folder)
  }
}

extension URL {
  /// The path of a file in this folder.
  func file(_ name: String) -> String { appending(path: name).path(percentEncoded: false) }

  /// The names in this folder, hidden ones too.
  var names: [String] {
    get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
  }
}
