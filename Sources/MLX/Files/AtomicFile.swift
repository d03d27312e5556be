import FoundationEssentials

#if canImport(Glibc)
  import Glibc
#endif

/// A file that is written under a temporary name in the folder of its final one, and renamed when
/// all its bytes are on the disk: other processes see the old file or the new one, never a part.
package struct AtomicFile: ~Copyable {
  private let descriptor: CInt
  private let path: String

  /// Runs the body with a new file, then puts it in place; if the body throws, nothing is left.
  package static func write(
    to url: URL, _ body: (borrowing AtomicFile) throws -> Void
  ) throws {
    let target = url.path(percentEncoded: false)
    let folder = url.deletingLastPathComponent()
    let temporary = folder.appending(
      path: ".\(url.lastPathComponent).\(UInt64.random(in: .min ... .max)).tmp")
    let path = temporary.path(percentEncoded: false)
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw FileError.last("write", target) }
    let removal = TemporaryPath(path)
    defer { removal.remove() }
    do {
      defer { close(descriptor) }
      try body(AtomicFile(descriptor: descriptor, path: target))
      guard fsync(descriptor) == 0 else { throw FileError.last("write", target) }
    }
    guard rename(path, target) == 0 else { throw FileError.last("write", target) }
    try FileSystem.synchronize(folder)
  }

  /// Writes a text.
  package static func write(_ text: String, to url: URL) throws {
    try write(to: url) { try $0.append(Array(text.utf8)) }
  }

  package func append(_ bytes: [UInt8]) throws {
    try bytes.withUnsafeBytes { buffer in
      var done = 0
      while done < buffer.count {
        let count = Glibc.write(
          descriptor, buffer.baseAddress?.advanced(by: done), buffer.count - done)
        if count < 0, errno != EINTR { throw FileError.last("write", path) }
        done += max(0, count)
      }
    }
  }
}
