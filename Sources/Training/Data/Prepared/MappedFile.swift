import Foundation
import MLX

#if canImport(Glibc)
  import Glibc
#endif

/// A file whose bytes the system reads when they are touched.
///
/// A file that somebody shortens while it is mapped ends the process with a signal; prepared sets
/// are renamed into place and never written again, so nobody has a reason to.
final class MappedFile: Sendable {
  /// The bytes.
  let count: Int

  /// The first byte's address as a number, which is what makes this `Sendable`; the memory is only
  /// read.
  private let address: UInt

  /// Maps a file that has exactly as many bytes as expected.
  init(url: URL, expecting count: Int) throws {
    let path = url.path(percentEncoded: false)
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw FileError.last("read", path) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw FileError.last("read", path) }
    guard status.st_mode & S_IFMT == S_IFREG, Int(status.st_size) == count else {
      throw DatasetError.wrongSize(file: path, expected: count, got: Int(status.st_size))
    }
    self.count = count
    guard count > 0 else {
      address = 0
      return
    }
    let memory = mmap(nil, count, PROT_READ, MAP_SHARED, descriptor, 0)
    guard let memory, memory != MAP_FAILED else { throw FileError.last("map", path) }
    address = UInt(bitPattern: memory)
  }

  deinit {
    if let memory = UnsafeMutableRawPointer(bitPattern: address) { munmap(memory, count) }
  }

  /// Runs the body with the bytes, which are not to be kept.
  func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try withExtendedLifetime(self) {
      try body(
        UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: address), count: count))
    }
  }

  /// The hash of all bytes.
  var checksum: UInt64 { withBytes { fnv1a($0) } }
}
