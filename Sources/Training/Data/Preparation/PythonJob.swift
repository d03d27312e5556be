import Foundation
import MLX
import Models

/// How far a preparation is.
public struct DataProgress: Hashable, Sendable {
  /// What is being done.
  public let stage: String
  /// How much of it is done.
  public let completed: Int
  /// How much there is.
  public let total: Int
  /// More about it.
  public let detail: String?
}

/// A long job of a Python child process that writes files into a folder and says how far it is.
struct PythonJob {
  /// The program; it calls `progress(stage, completed, total, detail)`, reads its `settings`, and
  /// calls `finish(result)` with an object of JSON.
  let script: String
  /// Packages that it imports.
  let packages: [String]
  /// What it is doing, for a sentence: "cannot …".
  let task: String

  /// Runs it; if `progress` throws, the child is ended and the error thrown on.
  func run(
    settings: JSON, in folder: URL, python: PythonInterpreter,
    progress: (DataProgress) throws -> Void
  ) throws -> JSON {
    let names = ["progress", "errors", "result"].map { folder.appending(path: ".\($0)") }
    for name in names { try AtomicFile.write("", to: name) }
    defer { for name in names { try? FileManager.default.removeItem(at: name) } }
    let process = Process()
    process.executableURL = URL(filePath: python.path)
    process.arguments =
      ["-c", PythonJob.prologue + script, settings.encoded(), packages.joined(separator: ",")]
      + names.map { $0.path(percentEncoded: false) }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = try FileHandle(forWritingTo: names[1])
    do {
      try process.run()
    } catch {
      throw PythonInterpreter.PythonError.notStarted(
        interpreter: python.path, reason: "\(error.localizedDescription)")
    }
    var last = DataProgress(stage: task, completed: 0, total: 1, detail: nil)
    do {
      var isRunning = true
      while isRunning {
        Thread.sleep(forTimeInterval: 0.02)
        isRunning = process.isRunning
        last = try PythonJob.progress(in: names[0]) ?? last
        // Also where nothing is new: the caller may want to stop.
        try progress(last)
      }
    } catch {
      process.terminate()
      process.waitUntilExit()
      throw error
    }
    guard process.terminationReason == .exit, process.terminationStatus == 0 else {
      let errors = String(decoding: try Data(contentsOf: names[1]), as: UTF8.self)
      let line = errors.split(separator: "\n").last.map(String.init) ?? "it ended without a word"
      throw process.terminationStatus == PythonInterpreter.missingPackageCode
        ? PythonInterpreter.PythonError.missingPackage(line, interpreter: python.path)
        : PythonInterpreter.PythonError.failed(task: task, message: line)
    }
    return try JSON(parsing: [UInt8](try Data(contentsOf: names[2])))
  }

  private static func progress(in file: URL) throws -> DataProgress? {
    let fields = String(decoding: try Data(contentsOf: file), as: UTF8.self)
      .split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
    guard fields.count == 4, let completed = Int(fields[1]), let total = Int(fields[2]) else {
      return nil
    }
    return DataProgress(
      stage: fields[0], completed: completed, total: total,
      detail: fields[3].isEmpty ? nil : fields[3])
  }

  /// What every job begins with.
  ///
  /// The first line keeps files in the current folder from being imported as modules. Ctrl-C is
  /// the parent's to see; a child whose parent is gone ends at its next report.
  private static let prologue = """
    import sys; sys.path = [entry for entry in sys.path if entry]
    import importlib.util, json, os, signal, time
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent, reported = os.getppid(), 0.0
    settings = json.loads(sys.argv[1])
    for package in filter(None, sys.argv[2].split(",")):
        if importlib.util.find_spec(package) is None:
            sys.exit(print(package, file=sys.stderr) or \(PythonInterpreter.missingPackageCode))

    def progress(stage, completed, total, detail=""):
        global reported
        if os.getppid() != parent:
            os._exit(1)
        if completed < total and time.monotonic() - reported < 0.1:
            return
        reported = time.monotonic()
        with open(sys.argv[3] + ".new", "w") as file:
            file.write(f"{stage}\\t{completed}\\t{total}\\t{detail}")
        os.replace(sys.argv[3] + ".new", sys.argv[3])

    def finish(result):
        with open(sys.argv[5], "w") as file:
            json.dump(result, file)

    def fail(sentence):
        print(" ".join(str(sentence).split()), file=sys.stderr)
        sys.exit(1)


    """
}
