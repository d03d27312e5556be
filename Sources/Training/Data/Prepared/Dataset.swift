import FoundationEssentials
import MLX

/// A prepared set: a folder with `dataset.json` and files of bytes that are mapped, not read.
///
///     let data = try Dataset.open(at: folder)
///     let train = try data.tokens(.train, length: 1024, seed: 1).prefetched()
///     let batch = try train.batch(step: 0, size: 16, part: 0, of: 1)
public struct Dataset: Sendable {
  /// Where it is.
  public let folder: URL
  /// What it holds.
  public let header: DatasetHeader

  /// Opens a set; sizes of files are compared with the header, bytes are not read.
  ///
  /// Throws ``DatasetError`` or a ``/MLX/FileError``.
  public static func open(at folder: URL) throws -> Dataset {
    let dataset = Dataset(folder: folder, header: try DatasetHeader(folder: folder))
    for part in DatasetPart.allCases {
      for name in (dataset.header.arrays[part] ?? [:]).keys { _ = try dataset.map(part, name) }
    }
    return dataset
  }

  /// The tokenizer that made the tokens, where the set has one: a Hugging Face `tokenizer.json`.
  public var tokenizer: URL { folder.appending(path: "tokenizer.json") }

  /// A part's documents as windows of `length` + 1 tokens.
  ///
  /// Throws ``DatasetError`` if the set holds no tokens, or too few for one window.
  public func tokens(_ part: DatasetPart, length: Int, seed: UInt64 = 0) throws -> TokenSet {
    try TokenSet(self, part, length: length, seed: seed)
  }

  /// A part's images, by default as they are.
  ///
  /// Throws ``DatasetError`` if the set holds no images, or none in this part.
  public func images(
    _ part: DatasetPart, augmentation: ImageAugmentation = .none, seed: UInt64 = 0
  ) throws -> ImageSet {
    try ImageSet(self, part, augmentation: augmentation, seed: seed)
  }

  /// Reads every byte and compares checksums.
  ///
  /// Throws ``DatasetError/wrongChecksum(file:expected:got:)``. Cost: about a second a gigabyte.
  public func verify() throws {
    for part in DatasetPart.allCases {
      for (name, array) in (header.arrays[part] ?? [:]).sorted(by: { $0.key < $1.key }) {
        let checksum = try map(part, name).checksum
        guard checksum == array.checksum else {
          throw DatasetError.wrongChecksum(
            file: folder.appending(path: DatasetHeader.file(part, name))
              .path(percentEncoded: false), expected: array.checksum, got: checksum)
        }
      }
    }
  }

  /// The file of an array; throws if it is not as long as the header says.
  func map(_ part: DatasetPart, _ name: String) throws -> MappedFile {
    try MappedFile(
      url: folder.appending(path: DatasetHeader.file(part, name)),
      expecting: try array(part, name).byteCount)
  }

  /// That the header does not say what it has to.
  func malformed(_ reason: String) -> DatasetError {
    .badHeader(
      file: folder.appending(path: DatasetHeader.fileName).path(percentEncoded: false),
      reason: reason)
  }

  /// That the set holds something else.
  func isNot(_ expected: String) -> DatasetError {
    .wrongKind(
      folder: folder.path(percentEncoded: false), expected: expected, got: header.kind.name)
  }

  /// What the header says of an array.
  func array(_ part: DatasetPart, _ name: String) throws -> DatasetHeader.Array {
    guard let array = header.arrays[part]?[name] else {
      throw malformed("expected an array \"\(name)\" in \(part.rawValue)")
    }
    return array
  }

  /// An array of the given type and rank, or an error that says what it is instead.
  func array(
    _ part: DatasetPart, _ name: String, dtypes: [DType], rank: Int
  ) throws -> DatasetHeader.Array {
    let array = try array(part, name)
    guard dtypes.contains(array.dtype), array.shape.count == rank else {
      throw malformed(
        "expected \(name) of \(dtypes.map(\.rawValue).joined(separator: " or ")) with "
          + "\(rank) axes, got \(array.dtype.rawValue) \(array.shape)")
    }
    return array
  }
}

// MARK: - Writing

extension Dataset {
  /// Makes a set: the body fills a new folder with one file an array and says what they are; the
  /// set gets its name when everything, checksums included, is on the disk.
  static func write(
    to folder: URL,
    _ body: (_ folder: URL) throws -> (
      kind: DatasetHeader.Kind, arrays: [DatasetPart: [String: (dtype: DType, shape: [Int])]],
      facts: [String: [Double]]
    )
  ) throws -> Dataset {
    let parent = folder.deletingLastPathComponent()
    try FileSystem.makeFolder(parent)
    let name = ".\(folder.lastPathComponent).\(UInt64.random(in: .min ... .max)).tmp"
    let temporary = parent.appending(path: name)
    let removal = TemporaryPath(temporary.path(percentEncoded: false))
    defer { removal.remove() }
    try FileSystem.makeFolder(temporary)
    let (kind, shapes, facts) = try body(temporary)
    var arrays: [DatasetPart: [String: DatasetHeader.Array]] = [:]
    for (part, members) in shapes {
      for (name, (dtype, shape)) in members {
        let file = temporary.appending(path: DatasetHeader.file(part, name))
        let mapped = try MappedFile(url: file, expecting: shape.reduce(dtype.size, *))
        arrays[part, default: [:]][name] = DatasetHeader.Array(
          dtype: dtype, shape: shape, checksum: mapped.checksum)
        try FileSystem.synchronizeFile(file)
      }
    }
    let header = DatasetHeader(kind: kind, arrays: arrays, facts: facts)
    try AtomicFile.write(header.encoded, to: temporary.appending(path: DatasetHeader.fileName))
    try FileSystem.synchronize(temporary)
    try removal.move(to: folder.path(percentEncoded: false))
    return try open(at: folder)
  }

  /// Throws, before long work, if a set cannot be written to a folder: only another set, and only if
  /// it may be replaced, is written over.
  public static func checkTarget(_ folder: URL, replacingExisting: Bool) throws {
    let path = folder.path(percentEncoded: false)
    try FileSystem.checkMakeable(folder)
    guard FileManager.default.fileExists(atPath: path) else { return }
    let isSet = FileManager.default.fileExists(
      atPath: folder.appending(path: DatasetHeader.fileName).path(percentEncoded: false))
    guard isSet, replacingExisting else {
      throw DatasetError.badSource(
        path: path,
        reason: isSet
          ? "expected a folder that is not there yet, got a prepared set; give --force to replace it"
          : "expected a folder that is not there yet, got something else; name another")
    }
  }
}
