import FoundationEssentials

#if canImport(Glibc)
  import Glibc
#endif

/// Work on whole files and folders, whose errors name the file and the system's reason.
package enum FileSystem {
  /// Makes a folder, and those above it, unless it is there.
  package static func makeFolder(_ folder: URL) throws {
    let path = folder.path(percentEncoded: false)
    if mkdir(path, 0o777) == 0 || errno == EEXIST { return }
    let parent = folder.deletingLastPathComponent()
    guard errno == ENOENT, parent.path.count < folder.path.count else {
      throw FileError.last("make the folder", path)
    }
    try makeFolder(parent)
    guard mkdir(path, 0o777) == 0 || errno == EEXIST else {
      throw FileError.last("make the folder", path)
    }
  }

  /// Throws, before long work, if nothing can be made in a folder.
  ///
  /// Not every file system says so by its permissions: writing may fail all the same.
  package static func checkWritable(_ folder: URL) throws {
    let path = folder.absoluteURL.path(percentEncoded: false)
    guard access("\(path)/.", W_OK | X_OK) == 0 else { throw FileError.last("write to", path) }
  }

  /// Throws, before long work, if a folder, and those above it, cannot be made.
  package static func checkMakeable(_ folder: URL) throws {
    var existing = folder.absoluteURL.deletingLastPathComponent()
    while access(existing.path(percentEncoded: false), F_OK) != 0, errno == ENOENT,
      existing.pathComponents.count > 1
    {
      existing.deleteLastPathComponent()
    }
    try checkWritable(existing)
  }

  /// Copies a file, a piece at a time.
  package static func copy(_ source: URL, to url: URL) throws {
    let path = source.path(percentEncoded: false)
    let input = open(path, O_RDONLY | O_CLOEXEC)
    guard input >= 0 else { throw FileError.last("read", path) }
    defer { close(input) }
    try AtomicFile.write(to: url) { file in
      var count = 1
      while count > 0 {
        let bytes = [UInt8](unsafeUninitializedCapacity: 1 << 20) { buffer, done in
          count = read(input, buffer.baseAddress, buffer.count)
          done = max(0, count)
        }
        guard count >= 0 else { throw FileError.last("read", path) }
        try file.append(bytes)
      }
    }
  }

  /// Makes the bytes of a file that another program wrote durable.
  package static func synchronizeFile(_ file: URL) throws {
    let path = file.path(percentEncoded: false)
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError.last("open", path) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw FileError.last("write", path) }
  }

  /// Makes the names in a folder durable, not only the bytes of its files.
  package static func synchronize(_ folder: URL) throws {
    let path = folder.path(percentEncoded: false)
    let descriptor = open(path.isEmpty ? "." : path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError.last("open", path) }
    defer { close(descriptor) }
    // Some file systems have no way to do so for a folder and say EINVAL.
    guard fsync(descriptor) == 0 || errno == EINVAL else { throw FileError.last("write", path) }
  }
}

/// What the system said about a file.
public struct FileError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The sentence: what could not be done, to which file, and why.
  public let description: String

  package init(_ description: String) {
    self.description = description
  }

  package static func last(_ operation: String, _ path: String) -> FileError {
    FileError("cannot \(operation) \(path): \(String(cString: strerror(errno))).")
  }
}
