/// The header of a safetensors file: which tensors there are, and where.
///
/// The format: the header's length N as an unsigned 64-bit little-endian number, N bytes of JSON
/// with `dtype`, `shape` and `data_offsets` (relative to the data) of each tensor by name, then the
/// data, which the tensors cover exactly, without overlap and without holes.
public struct SafetensorsHeader: Hashable, Sendable {
  /// One tensor of a file.
  public struct Tensor: Hashable, Sendable {
    /// The tensor's name.
    public let name: String
    /// The type of its elements.
    public let dtype: DType
    /// Its sizes.
    public let shape: [Int]
    /// Its bytes, counted from the start of the data.
    public let bytes: Range<Int>
  }

  /// The tensors in the order of their bytes.
  public let tensors: [Tensor]
  /// What the writer noted, such as `format`.
  public let metadata: [String: String]

  /// The longest header that is read, in bytes: the limit of the reference implementation.
  static let lengthLimit = 100_000_000
  /// The bytes of the number that holds the header's length.
  static let prefixLength = 8
  static let metadataKey = "__metadata__"
}

// MARK: - Reading

extension SafetensorsHeader {
  typealias Reason = SafetensorsError.Reason

  /// The length that the first eight bytes of a file announce.
  static func length(prefix: [UInt8], fileSize: Int) throws(Reason) -> Int {
    guard prefix.count == prefixLength else { throw .tooShort(bytes: prefix.count) }
    let length = prefix.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard length <= UInt64(lengthLimit) else {
      throw .headerTooLong(bytes: length, limit: lengthLimit)
    }
    let available = fileSize - prefixLength
    guard Int(length) <= available else {
      throw .headerTruncated(bytes: Int(length), available: available)
    }
    return Int(length)
  }

  /// Checks everything that the header says against itself and the size of the file.
  init(parsing text: [UInt8], fileSize: Int) throws(Reason) {
    let header: JSON
    do throws(JSONError) {
      header = try JSON(parsing: text)
    } catch {
      switch error {
      case .notUTF8(let offset): throw .headerNotUTF8(offset: offset)
      case .duplicateKey(let key): throw .duplicateKey(key)
      case .syntax, .tooDeep: throw .headerNotJSON(error.description)
      }
    }
    guard let entries = header.object else { throw .headerNotAnObject(got: header.kind) }
    metadata = try SafetensorsHeader.metadata(entries[SafetensorsHeader.metadataKey])
    let available = fileSize - SafetensorsHeader.prefixLength - text.count
    var tensors: [Tensor] = []
    for (name, entry) in entries.members where name != SafetensorsHeader.metadataKey {
      tensors.append(try Tensor(name: name, entry: entry, available: available))
    }
    tensors.sort {
      ($0.bytes.lowerBound, $0.bytes.upperBound, $0.name)
        < ($1.bytes.lowerBound, $1.bytes.upperBound, $1.name)
    }
    try SafetensorsHeader.checkCoverage(tensors, available: available)
    self.tensors = tensors
  }

  private static func metadata(_ value: JSON?) throws(Reason) -> [String: String] {
    guard let value else { return [:] }
    guard let object = value.object else {
      throw .badMetadata(key: metadataKey, got: value.kind)
    }
    var metadata: [String: String] = [:]
    for (key, value) in object.members {
      guard let text = value.string else { throw .badMetadata(key: key, got: value.kind) }
      metadata[key] = text
    }
    return metadata
  }

  /// Tensors in the order of their bytes have to lie side by side from the first byte to the last.
  private static func checkCoverage(_ tensors: [Tensor], available: Int) throws(Reason) {
    var end = 0
    var previous = ""
    for tensor in tensors {
      let start = tensor.bytes.lowerBound
      if start < end { throw .overlap(previous, tensor.name) }
      if start > end { throw .hole(before: tensor.name, start: end, end: start) }
      end = tensor.bytes.upperBound
      previous = tensor.name
    }
    guard end == available else { throw .trailingBytes(available - end) }
  }
}

extension SafetensorsHeader.Tensor {
  typealias Reason = SafetensorsError.Reason

  init(name: String, entry: JSON, available: Int) throws(Reason) {
    func value(_ key: String) throws(Reason) -> JSON {
      guard let object = entry.object else {
        throw .illTyped(tensor: name, key: name, expected: "an object", got: entry.kind)
      }
      guard let value = object[key] else { throw .missingKey(tensor: name, key: key) }
      return value
    }
    func numbers(_ key: String, _ expected: String) throws(Reason) -> [Int] {
      let value = try value(key)
      guard let items = value.array else {
        throw .illTyped(tensor: name, key: key, expected: expected, got: value.kind)
      }
      var numbers: [Int] = []
      for item in items {
        guard let number = item.integer else {
          throw .illTyped(tensor: name, key: key, expected: expected, got: item.kind)
        }
        guard number >= 0 else { throw .negative(tensor: name, key: key, value: number) }
        numbers.append(number)
      }
      return numbers
    }

    let type = try value("dtype")
    guard let typeName = type.string else {
      throw .illTyped(tensor: name, key: "dtype", expected: "a string", got: type.kind)
    }
    guard let dtype = DType(safetensors: typeName) else {
      throw DType.unsupportedInSafetensors.contains(typeName)
        ? .unsupportedType(tensor: name, type: typeName)
        : .unknownType(tensor: name, type: typeName)
    }
    let shape = try numbers("shape", "a list of whole numbers")
    let offsets = try numbers("data_offsets", "a list of two whole numbers")
    guard offsets.count == 2 else {
      throw .illTyped(
        tensor: name, key: "data_offsets", expected: "a list of two whole numbers",
        got: "a list of \(offsets.count)")
    }
    let (start, end) = (offsets[0], offsets[1])
    guard start <= end else { throw .reversedRange(tensor: name, start: start, end: end) }
    guard end <= available else {
      throw .outsideFile(tensor: name, end: end, available: available)
    }
    var count = dtype.size
    for size in shape {
      let (product, overflow) = count.multipliedReportingOverflow(by: size)
      guard !overflow else { throw .shapeOverflow(tensor: name, shape: shape) }
      count = product
    }
    guard shape.allSatisfy({ $0 <= Int(Int32.max) }) else {
      throw .sizeTooLarge(tensor: name, shape: shape)
    }
    guard count == end - start else {
      throw .wrongByteCount(
        tensor: name, shape: shape, type: typeName, expected: count, got: end - start)
    }
    self.init(name: name, dtype: dtype, shape: shape, bytes: start..<end)
  }
}

// MARK: - Writing

extension SafetensorsHeader {
  /// Lays tensors side by side: the largest elements first, so that each tensor is aligned to its
  /// own, and by name among equals, so that equal tensors make equal files.
  init(laying tensors: [(name: String, dtype: DType, shape: [Int])], metadata: [String: String]) {
    let order = tensors.sorted { ($1.dtype.size, $0.name) < ($0.dtype.size, $1.name) }
    var end = 0
    self.tensors = order.map {
      let start = end
      end += $0.shape.reduce($0.dtype.size, *)
      return Tensor(name: $0.name, dtype: $0.dtype, shape: $0.shape, bytes: start..<end)
    }
    self.metadata = metadata
  }

  /// The bytes that a file begins with, padded with spaces so that the data are aligned.
  var encoded: [UInt8] {
    var object = JSON.Object()
    if !metadata.isEmpty {
      var pairs = JSON.Object()
      for (key, text) in metadata.sorted(by: { $0.key < $1.key }) { pairs[key] = .string(text) }
      object[SafetensorsHeader.metadataKey] = .object(pairs)
    }
    for tensor in tensors {
      object[tensor.name] = .object([
        "dtype": .string(tensor.dtype.safetensorsName),
        "shape": .array(tensor.shape.map(JSON.integer)),
        "data_offsets": .array([
          .integer(tensor.bytes.lowerBound), .integer(tensor.bytes.upperBound),
        ]),
      ])
    }
    var text = Array(JSON.object(object).encoded().utf8)
    while text.count % 8 != 0 { text.append(UInt8(ascii: " ")) }
    return withUnsafeBytes(of: UInt64(text.count).littleEndian) { Array($0) } + text
  }
}

extension DType {
  /// The types of the format that arrays here don't have.
  static let unsupportedInSafetensors: Set<String> = [
    "F4", "F6_E2M3", "F6_E3M2", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ",
  ]

  init?(safetensors name: String) {
    guard let type = DType.allCases.first(where: { $0.safetensorsName == name }) else {
      return nil
    }
    self = type
  }

  /// The name of the type in a safetensors header.
  var safetensorsName: String {
    switch self {
    case .bool: "BOOL"
    case .uint8: "U8"
    case .uint16: "U16"
    case .uint32: "U32"
    case .uint64: "U64"
    case .int8: "I8"
    case .int16: "I16"
    case .int32: "I32"
    case .int64: "I64"
    case .float16: "F16"
    case .bfloat16: "BF16"
    case .float32: "F32"
    case .float64: "F64"
    case .complex64: "C64"
    }
  }
}
