import FoundationEssentials

#if canImport(Glibc)
  import Glibc
#endif

/// An open safetensors file whose header has been checked; tensors are read when asked for.
///
/// The bytes are read, not mapped: a mapped file that somebody else shortens ends the process with
/// a signal, a short read is an error. Nothing but this header is believed: MLX's own reader, which
/// parses the file a second time and by other rules, is not asked.
public final class SafetensorsFile: Sendable {
  /// The path of the file.
  public let path: String
  /// What the file says about its tensors.
  public let header: SafetensorsHeader

  private let descriptor: CInt
  private let dataOffset: Int
  private let tensors: [String: SafetensorsHeader.Tensor]

  /// Opens a file and checks its header: types, shapes, offsets, and that the tensors cover the
  /// file exactly.
  ///
  /// Throws ``SafetensorsError``. Cost: the header is read, the tensors aren't.
  public init(url: URL) throws {
    let path = url.path(percentEncoded: false)
    do throws(SafetensorsError.Reason) {
      let descriptor = open(path, O_RDONLY | O_CLOEXEC)
      guard descriptor >= 0 else { throw .lastSystemError("open it") }
      do throws(SafetensorsError.Reason) {
        let size = try SafetensorsFile.size(of: descriptor)
        let prefix = try SafetensorsFile.read(
          min(SafetensorsHeader.prefixLength, size), at: 0, of: descriptor)
        let length = try SafetensorsHeader.length(prefix: prefix, fileSize: size)
        let text = try SafetensorsFile.read(
          length, at: SafetensorsHeader.prefixLength, of: descriptor)
        header = try SafetensorsHeader(parsing: text, fileSize: size)
        dataOffset = SafetensorsHeader.prefixLength + length
      } catch {
        close(descriptor)
        throw error
      }
      self.descriptor = descriptor
    } catch {
      throw SafetensorsError(file: path, reason: error)
    }
    self.path = path
    tensors = Dictionary(uniqueKeysWithValues: header.tensors.map { ($0.name, $0) })
  }

  deinit {
    close(descriptor)
  }

  /// The description of a tensor, `nil` if there is none of that name.
  public subscript(name: String) -> SafetensorsHeader.Tensor? { tensors[name] }

  /// Reads one tensor.
  ///
  /// Throws ``SafetensorsError`` if there is none of that name or its bytes cannot be read.
  public func array(_ name: String) throws -> MLXArray {
    do throws(SafetensorsError.Reason) {
      guard let tensor = tensors[name] else { throw .noSuchTensor(name) }
      let bytes: [UInt8]
      do throws(SafetensorsError.Reason) {
        bytes = try SafetensorsFile.read(
          tensor.bytes.count, at: dataOffset + tensor.bytes.lowerBound, of: descriptor)
      } catch .headerTruncated {
        throw .shrunk(tensor: name)
      }
      if tensor.dtype == .bool, let byte = bytes.first(where: { $0 > 1 }) {
        throw .notABoolean(tensor: name, byte: byte)
      }
      return MLXArray(bytes: bytes, tensor.shape, dtype: tensor.dtype)
    } catch {
      throw SafetensorsError(file: path, reason: error)
    }
  }

  private static func size(of descriptor: CInt) throws(SafetensorsError.Reason) -> Int {
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw .lastSystemError("read it") }
    guard status.st_mode & S_IFMT == S_IFREG else { throw .notAFile }
    return Int(status.st_size)
  }

  private static func read(
    _ count: Int, at offset: Int, of descriptor: CInt
  ) throws(SafetensorsError.Reason) -> [UInt8] {
    var reason: SafetensorsError.Reason?
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, done in
      while done < count {
        let got = pread(
          descriptor, buffer.baseAddress?.advanced(by: done), count - done, offset + done)
        if got > 0 {
          done += got
        } else if got == 0 {
          reason = .headerTruncated(bytes: count, available: done)
          return
        } else if errno != EINTR {
          reason = .lastSystemError("read it")
          return
        }
      }
    }
    if let reason { throw reason }
    return bytes
  }
}

extension SafetensorsError.Reason: Error {}

extension SafetensorsError.Reason {
  /// What the system said last.
  static func lastSystemError(_ operation: String) -> Self {
    .system(operation: operation, message: String(cString: strerror(errno)))
  }
}

// MARK: - Whole files

/// Reads all tensors of a safetensors file, by name.
///
/// Everything that the header says is checked before a tensor is read. `F64` and `C64` become
/// `float64` and `complex64`, which only the CPU computes with; elements below 16 bits (`F8_E4M3`,
/// `F4` and kin) are refused. Throws ``SafetensorsError``.
public func loadArrays(url: URL) throws -> [String: MLXArray] {
  try loadArraysAndMetadata(url: url).0
}

/// Reads all tensors of a safetensors file, by name, and what its writer noted.
///
/// As ``loadArrays(url:)``. Throws ``SafetensorsError``.
public func loadArraysAndMetadata(url: URL) throws -> ([String: MLXArray], [String: String]) {
  let file = try SafetensorsFile(url: url)
  var arrays: [String: MLXArray] = [:]
  for tensor in file.header.tensors { arrays[tensor.name] = try file.array(tensor.name) }
  return (arrays, file.header.metadata)
}

/// Writes arrays as a safetensors file: to a temporary file beside it that takes its name once all
/// bytes are on the disk, so that the file is whole or as it was.
///
/// Equal arrays make equal files: the largest elements come first, then names in order. Python's
/// tools want `format` to be `pt` among the metadata. Throws the error of an array that failed, or
/// of the system.
public func save(
  arrays: [String: MLXArray], metadata: [String: String] = [:], url: URL
) throws {
  for (_, array) in arrays {
    if let failure = array.failure { throw failure }
  }
  let header = SafetensorsHeader(
    laying: arrays.map { ($0.key, $0.value.dtype, $0.value.shape) }, metadata: metadata)
  try AtomicFile.write(to: url) { file in
    try file.append(header.encoded)
    for tensor in header.tensors {
      if let bytes = try arrays[tensor.name]?.asBytes() { try file.append(bytes) }
    }
  }
}
