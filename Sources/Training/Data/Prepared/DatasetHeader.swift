import FoundationEssentials
import MLX

/// The parts of a prepared set.
public enum DatasetPart: String, Hashable, Sendable, CaseIterable {
  /// What training sees.
  case train
  /// What it does not see.
  case validation
}

/// What `dataset.json` says: what the set holds, and of every array its file, type and shape.
///
/// An array is a file of its own: the elements in row-major order, little-endian, and nothing else.
public struct DatasetHeader: Hashable, Sendable {
  /// What the examples are.
  public enum Kind: Hashable, Sendable {
    /// Documents as tokens below a vocabulary's size; each ends with the separator.
    case tokens(vocabularySize: Int, separator: Int)
    /// Images of bytes [height, width, channels], each of one of the classes.
    case images(height: Int, width: Int, channels: Int, classes: [String])

    var name: String {
      switch self {
      case .tokens: "tokens"
      case .images: "images"
      }
    }
  }

  /// An array of a part.
  public struct Array: Hashable, Sendable {
    /// The element type.
    public let dtype: DType
    /// The sizes of the axes.
    public let shape: [Int]
    /// The hash FNV-1a, 64 bits, of the file's bytes.
    public let checksum: UInt64

    var byteCount: Int { shape.reduce(dtype.size, *) }
  }

  /// What the examples are.
  public let kind: Kind
  /// The arrays of each part by name; the file of one is `<part>.<name>`.
  public let arrays: [DatasetPart: [String: Array]]
  /// Numbers that the preparation measured, by name: channel means, sources, and so on.
  public let facts: [String: [Double]]

  static let fileName = "dataset.json"
  private static let versionKey = "tessera_dataset"
  private static let version = 1

  static func file(_ part: DatasetPart, _ name: String) -> String { "\(part.rawValue).\(name)" }
}

// MARK: - Reading

extension DatasetHeader {
  init(folder: URL) throws {
    let url = folder.appending(path: DatasetHeader.fileName)
    let path = url.path(percentEncoded: false)
    guard FileManager.default.fileExists(atPath: path) else {
      throw DatasetError.noDataset(folder: folder.path(percentEncoded: false))
    }
    guard let data = FileManager.default.contents(atPath: path) else {
      throw FileError.last("read", path)
    }
    do {
      try self.init(JSON(parsing: [UInt8](data)))
    } catch let error as JSONError {
      throw DatasetError.badHeader(file: path, reason: "\(error)")
    } catch let error as Malformed {
      throw DatasetError.badHeader(file: path, reason: error.reason)
    }
  }

  private struct Malformed: Error {
    let reason: String
  }

  private static func field<Value>(
    _ name: String, _ value: Value?, _ expected: String
  ) throws -> Value {
    guard let value else { throw Malformed(reason: "expected \(expected) as \"\(name)\"") }
    return value
  }

  private init(_ json: JSON) throws {
    guard json[DatasetHeader.versionKey]?.integer == DatasetHeader.version else {
      throw Malformed(
        reason: "expected \"\(DatasetHeader.versionKey)\" \(DatasetHeader.version), got "
          + "\(json[DatasetHeader.versionKey]?.kind ?? "nothing")")
    }
    func size(_ name: String, atLeast least: Int = 1) throws -> Int {
      let value = json[name]?.integer
      return try DatasetHeader.field(
        name, value.flatMap { (least...(1 << 24)).contains($0) ? $0 : nil },
        "a number from \(least) to \(1 << 24)")
    }
    switch json["kind"]?.string {
    case "tokens":
      kind = .tokens(
        vocabularySize: try size("vocabulary"), separator: try size("separator", atLeast: 0))
    case "images":
      kind = .images(
        height: try size("height"), width: try size("width"), channels: try size("channels"),
        classes: try DatasetHeader.field(
          "classes", json["classes"]?.array?.compactMap(\.string), "a list of names"))
    case let other:
      throw Malformed(reason: "expected the kind tokens or images, got \(other ?? "none")")
    }
    var arrays: [DatasetPart: [String: Array]] = [:]
    for part in DatasetPart.allCases {
      let members = try DatasetHeader.field(
        part.rawValue, json[part.rawValue]?.object, "an object of arrays")
      arrays[part] = [:]
      for (name, value) in members.members {
        // A name is part of a file's: it must not lead out of the folder.
        guard name.utf8.allSatisfy({ (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) }) else {
          throw Malformed(reason: "expected arrays named by small letters, got \"\(name)\"")
        }
        arrays[part]?[name] = try Array(value, name)
      }
    }
    self.arrays = arrays
    facts = (json["facts"]?.object?.members ?? []).reduce(into: [:]) {
      $0[$1.key] = $1.value.array?.compactMap(\.double)
    }
  }
}

extension DatasetHeader.Array {
  fileprivate init(_ json: JSON, _ name: String) throws {
    let dtype = try DatasetHeader.field(
      name, json["dtype"]?.string.flatMap { DType(rawValue: $0) }, "an array with a \"dtype\"")
    let shape = try DatasetHeader.field(
      name, json["shape"]?.array?.compactMap(\.integer), "an array with a \"shape\"")
    var bytes = dtype.size
    for size in shape {
      let (product, overflow) = bytes.multipliedReportingOverflow(by: size)
      guard size >= 0, !overflow else {
        throw DatasetHeader.Malformed(reason: "expected a possible shape of \(name), got \(shape)")
      }
      bytes = product
    }
    let checksum = try DatasetHeader.field(
      name, json["checksum"]?.string.flatMap { UInt64($0, radix: 16) }, "an array's \"checksum\"")
    self.init(dtype: dtype, shape: shape, checksum: checksum)
  }
}

// MARK: - Writing

extension DatasetHeader {
  var encoded: String {
    var object = JSON.Object()
    object[DatasetHeader.versionKey] = .integer(DatasetHeader.version)
    object["kind"] = .string(kind.name)
    switch kind {
    case .tokens(let vocabularySize, let separator):
      object["vocabulary"] = .integer(vocabularySize)
      object["separator"] = .integer(separator)
    case .images(let height, let width, let channels, let classes):
      object["height"] = .integer(height)
      object["width"] = .integer(width)
      object["channels"] = .integer(channels)
      object["classes"] = .array(classes.map(JSON.string))
    }
    for part in DatasetPart.allCases {
      var members = JSON.Object()
      for (name, array) in (arrays[part] ?? [:]).sorted(by: { $0.key < $1.key }) {
        members[name] = .object([
          "dtype": .string(array.dtype.rawValue),
          "shape": .array(array.shape.map(JSON.integer)),
          "checksum": .string(String(array.checksum, radix: 16)),
        ])
      }
      object[part.rawValue] = .object(members)
    }
    var numbers = JSON.Object()
    for (name, values) in facts.sorted(by: { $0.key < $1.key }) {
      numbers[name] = .array(values.map(JSON.double))
    }
    object["facts"] = .object(numbers)
    return JSON.object(object).encoded(indent: 1) + "\n"
  }
}
