import FoundationEssentials
import MLX

/// A tokenizer of a checkpoint: text → token numbers, by the Hugging Face package `tokenizers`.
///
/// The package runs in a Python child process, one for each call: give it all texts at once.
public struct Tokenizer: Sendable {
  /// The path of `tokenizer.json`.
  public let path: String
  /// The number of tokens that texts are cut to, special ones included.
  public let maximumLength: Int

  private let python: PythonInterpreter

  /// The tokenizer of a folder.
  ///
  /// Throws ``CheckpointError`` without a `tokenizer.json`, ``PythonInterpreter/PythonError`` without
  /// a Python.
  public init(
    folder: URL, maximumLength: Int, python: PythonInterpreter? = nil
  ) throws {
    let file = folder.appending(path: "tokenizer.json")
    path = file.path(percentEncoded: false)
    guard FileManager.default.fileExists(atPath: path) else {
      throw CheckpointError.missingFile(
        folder: folder.path(percentEncoded: false), file: file.lastPathComponent)
    }
    self.maximumLength = maximumLength
    self.python = try python ?? PythonInterpreter.find()
  }

  /// The tokens of each text, special ones included, in the order of the texts.
  ///
  /// Throws ``PythonInterpreter/PythonError``, with what to install if the package is missing. Cost:
  /// about half a second to start, then some 10⁴ sentences a second and core.
  public func tokens(of texts: [String]) throws -> [[Int32]] {
    guard !texts.isEmpty else { return [] }
    // A line of JSON a text, since texts may hold line breaks.
    let lines = texts.map { JSON.string($0).encoded() }.joined(separator: "\n") + "\n"
    let answer = try python.run(
      Tokenizer.script, arguments: [path, String(maximumLength)], input: Array(lines.utf8),
      task: "split text into tokens with \(path)")
    return try parse(answer, count: texts.count)
  }

  /// The text of each row of tokens, special ones left out, in the order of the rows.
  ///
  /// Throws ``PythonInterpreter/PythonError``.
  public func text(of rows: [[Int32]]) throws -> [String] {
    guard !rows.isEmpty else { return [] }
    let lines = rows.map { row in
      JSON.array(row.map { .integer(Int($0)) }).encoded() + "\n"
    }
    let task = "join tokens to text with \(path)"
    let answer = try python.run(
      Tokenizer.decodingScript, arguments: [path], input: Array(lines.joined().utf8), task: task)
    let texts = try JSON(parsing: answer).array?.compactMap(\.string) ?? []
    guard texts.count == rows.count else {
      throw PythonInterpreter.PythonError.failed(
        task: task, message: "expected \(rows.count) texts, got \(texts.count).")
    }
    return texts
  }

  /// Reads what the script wrote: for each text a count and as many numbers, 32 bits each.
  private func parse(_ bytes: [UInt8], count: Int) throws -> [[Int32]] {
    let words = stride(from: 0, to: bytes.count - bytes.count % 4, by: 4).map { start in
      bytes[start..<start + 4].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
    }
    var rows: [[Int32]] = []
    var position = 0
    while position < words.count, words.count - position > Int(words[position]) {
      let end = position + 1 + Int(words[position])
      rows.append(words[(position + 1)..<end].map { Int32(bitPattern: $0) })
      position = end
    }
    guard rows.count == count, position * 4 == bytes.count else {
      throw PythonInterpreter.PythonError.failed(
        task: "split text into tokens with \(path)",
        message: "expected an answer for \(count) texts, got \(rows.count).")
    }
    return rows
  }

  /// The start of what the child process runs.
  ///
  /// The first line keeps files in the current folder from being imported as modules.
  private static let imports = """
    import sys; sys.path = [entry for entry in sys.path if entry]
    import json
    import struct
    try:
        from tokenizers import Tokenizer
    except ImportError:
        sys.exit(print("tokenizers", file=sys.stderr) or \(PythonInterpreter.missingPackageCode))
    """

  private static let script =
    imports + """

      try:
          tokenizer = Tokenizer.from_file(sys.argv[1])
          tokenizer.no_padding()
          tokenizer.enable_truncation(int(sys.argv[2]))
          texts = [json.loads(line) for line in sys.stdin.buffer]
          for start in range(0, len(texts), 4096):
              for encoding in tokenizer.encode_batch(texts[start:start + 4096]):
                  ids = encoding.ids
                  sys.stdout.buffer.write(struct.pack(f"<I{len(ids)}I", len(ids), *ids))
          sys.stdout.buffer.flush()
      except Exception as error:
          sys.exit(" ".join(str(error).split()) or type(error).__name__)
      """

  private static let decodingScript =
    imports + """

      try:
          tokenizer = Tokenizer.from_file(sys.argv[1])
          print(json.dumps(tokenizer.decode_batch([json.loads(line) for line in sys.stdin.buffer])))
      except Exception as error:
          sys.exit(" ".join(str(error).split()) or type(error).__name__)
      """
}
