import Foundation
import MLX

/// A Python interpreter for the few jobs that a Python package does best, run as a child process.
public struct PythonInterpreter: Hashable, Sendable {
  /// The path of the program.
  public let path: String

  /// An interpreter at a known place.
  public init(path: String) {
    self.path = path
  }

  /// What went wrong with Python.
  public enum PythonError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The variable `TESSERA_PYTHON` names no program.
    case wrongVariable(path: String)
    /// There is no Python.
    case notFound
    /// The interpreter has no such package.
    case missingPackage(String, interpreter: String)
    /// The interpreter did not start.
    case notStarted(interpreter: String, reason: String)
    /// The program ended with an error.
    case failed(task: String, message: String)

    /// The sentence.
    public var description: String {
      switch self {
      case .wrongVariable(let path):
        "[python] expected a Python interpreter as TESSERA_PYTHON, got \(path), which is no "
          + "program; correct or unset the variable."
      case .notFound:
        "[python] expected a Python 3 with the package tokenizers, found none; run scripts/setup "
          + "in the checkout, or set TESSERA_PYTHON to an interpreter that has it."
      case .missingPackage(let name, let interpreter):
        "[python] \(interpreter) has no package \(name); install it with "
          + "`\(interpreter) -m pip install \(name)`, or set TESSERA_PYTHON to an interpreter "
          + "that has it."
      case .notStarted(let interpreter, let reason):
        "[python] cannot start \(interpreter): \(reason)"
      case .failed(let task, let message): "[python] cannot \(task): \(message)"
      }
    }
  }

  /// The interpreter to use: the one that `TESSERA_PYTHON` names; `.venv/bin/python` in a folder
  /// above this program, as in a checkout; `python3` on the path.
  public static func find(
    environment: [String: String] = ProcessInfo.processInfo.environment,
    executable: URL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
  ) throws -> PythonInterpreter {
    let isProgram = FileManager.default.isExecutableFile(atPath:)
    if let path = environment["TESSERA_PYTHON"], !path.isEmpty {
      guard isProgram(path) else { throw PythonError.wrongVariable(path: path) }
      return PythonInterpreter(path: path)
    }
    var folder = executable.deletingLastPathComponent()
    while true {
      let path = folder.appending(path: ".venv/bin/python").path(percentEncoded: false)
      if isProgram(path) { return PythonInterpreter(path: path) }
      guard folder.pathComponents.count > 1 else { break }
      folder.deleteLastPathComponent()
    }
    for entry in (environment["PATH"] ?? "").split(separator: ":") {
      let path = "\(entry)/python3"
      if isProgram(path) { return PythonInterpreter(path: path) }
    }
    throw PythonError.notFound
  }

  /// Exit code of a script that lacks a package and names it on its error output.
  package static let missingPackageCode: Int32 = 69

  /// The folder of an installed package.
  ///
  /// Throws ``PythonError`` if the interpreter has none of that name.
  public func folder(ofPackage name: String) throws -> URL {
    let answer = try run(
      """
      import sys; sys.path = [entry for entry in sys.path if entry]
      from importlib.util import find_spec
      found = find_spec(sys.argv[1])
      if found is None or not found.submodule_search_locations:
          sys.exit(print(sys.argv[1], file=sys.stderr) or \(PythonInterpreter.missingPackageCode))
      print(found.submodule_search_locations[0], end="")
      """, arguments: [name], input: [], task: "look for the package \(name)")
    return URL(filePath: String(decoding: answer, as: UTF8.self))
  }

  /// Runs a script on a text and returns what it writes.
  ///
  /// Text and answer go through files rather than pipes: nobody has to read while somebody writes.
  /// It waits, and does not suspend: MLX's streams belong to the caller's thread.
  package func run(
    _ script: String, arguments: [String], input: [UInt8], task: String
  ) throws -> [UInt8] {
    let folder = FileManager.default.temporaryDirectory
      .appending(path: "tessera-\(UInt64.random(in: .min ... .max))")
    let temporary = TemporaryPath(folder.path(percentEncoded: false))
    defer { temporary.remove() }
    try FileSystem.makeFolder(folder)
    let names = ["input", "output", "errors"].map { folder.appending(path: $0) }
    try AtomicFile.write(to: names[0]) { try $0.append(input) }
    for name in names[1...] { try AtomicFile.write("", to: name) }

    let process = Process()
    process.executableURL = URL(filePath: path)
    process.arguments = ["-c", script] + arguments
    process.standardInput = try FileHandle(forReadingFrom: names[0])
    process.standardOutput = try FileHandle(forWritingTo: names[1])
    process.standardError = try FileHandle(forWritingTo: names[2])
    do {
      try process.run()
    } catch {
      throw PythonError.notStarted(interpreter: path, reason: "\(error.localizedDescription)")
    }
    process.waitUntilExit()
    guard process.terminationReason == .exit, process.terminationStatus == 0 else {
      let errors = String(decoding: try Data(contentsOf: names[2]), as: UTF8.self)
      let last = errors.split(separator: "\n").last.map(String.init) ?? "it ended without a word"
      throw process.terminationStatus == PythonInterpreter.missingPackageCode
        ? PythonError.missingPackage(last, interpreter: path)
        : PythonError.failed(task: task, message: last)
    }
    return [UInt8](try Data(contentsOf: names[1]))
  }
}
