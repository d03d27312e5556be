/// What is wrong with a safetensors file, one case for each way to break one.
public struct SafetensorsError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The path of the file.
  public let file: String
  /// What is wrong with it.
  public let reason: Reason

  /// Makes an error about a file.
  public init(file: String, reason: Reason) {
    self.file = file
    self.reason = reason
  }

  /// The file, what was expected and what was found.
  public var description: String { "[safetensors] \(file): \(reason)" }

  /// What is wrong with a file.
  public enum Reason: Hashable, Sendable {
    /// The system cannot open, read or write it.
    case system(operation: String, message: String)
    /// It is a folder, a pipe or a device.
    case notAFile
    /// It has fewer bytes than the eight that hold the header's length.
    case tooShort(bytes: Int)
    /// Its header claims to be longer than any real one.
    case headerTooLong(bytes: UInt64, limit: Int)
    /// It ends inside its header.
    case headerTruncated(bytes: Int, available: Int)
    /// Its header is not UTF-8 text.
    case headerNotUTF8(offset: Int)
    /// Its header is not a JSON document.
    case headerNotJSON(String)
    /// Its header is a JSON document, but not an object.
    case headerNotAnObject(got: String)
    /// Its header names a tensor, or a property of one, twice.
    case duplicateKey(String)
    /// Its metadata are not strings by name.
    case badMetadata(key: String, got: String)
    /// A tensor has no type, no shape or no place.
    case missingKey(tensor: String, key: String)
    /// A property of a tensor has the wrong type.
    case illTyped(tensor: String, key: String, expected: String, got: String)
    /// A size or an offset is below zero.
    case negative(tensor: String, key: String, value: Int)
    /// The format knows no such element type.
    case unknownType(tensor: String, type: String)
    /// The format knows the element type, arrays here don't.
    case unsupportedType(tensor: String, type: String)
    /// The byte count of a shape does not fit into 64 bits.
    case shapeOverflow(tensor: String, shape: [Int])
    /// A size does not fit into the 32 bits that arrays have for it.
    case sizeTooLarge(tensor: String, shape: [Int])
    /// A tensor ends before it begins.
    case reversedRange(tensor: String, start: Int, end: Int)
    /// A tensor lies, wholly or in part, behind the end of the file.
    case outsideFile(tensor: String, end: Int, available: Int)
    /// A tensor's place does not have the bytes that its shape and type need.
    case wrongByteCount(tensor: String, shape: [Int], type: String, expected: Int, got: Int)
    /// Two tensors share bytes.
    case overlap(String, String)
    /// Bytes before a tensor belong to none.
    case hole(before: String, start: Int, end: Int)
    /// Bytes after the last tensor belong to none.
    case trailingBytes(Int)
    /// A Boolean is neither 0 nor 1.
    case notABoolean(tensor: String, byte: UInt8)
    /// The file became shorter after it was opened.
    case shrunk(tensor: String)
    /// There is no tensor of that name.
    case noSuchTensor(String)
  }
}

extension SafetensorsError.Reason: CustomStringConvertible {
  /// What was expected and what was found.
  public var description: String {
    switch self {
    case .system(let operation, let message): "cannot \(operation): \(message)."
    case .notAFile: "expected a regular file."
    case .tooShort(let bytes):
      "expected 8 bytes that hold the header's length, got \(bytes) bytes; the file is truncated."
    case .headerTooLong(let bytes, let limit):
      "expected a header of at most \(limit) bytes, got a length of \(bytes); "
        + "this is no safetensors file, or a damaged one."
    case .headerTruncated(let bytes, let available):
      "expected a header of \(bytes) bytes, got \(available); the file is truncated."
    case .headerNotUTF8(let offset): "expected a header in UTF-8, got a bad byte at \(offset)."
    case .headerNotJSON(let why): "expected a header in JSON, but \(why)."
    case .headerNotAnObject(let got): "expected a header with tensors by name, got \(got)."
    case .duplicateKey(let key): "expected every name of the header once, got `\(key)` twice."
    case .badMetadata(let key, let got):
      "expected strings by name as `__metadata__`, got \(got) at `\(key)`."
    case .missingKey(let tensor, let key): "tensor `\(tensor)` has no `\(key)`."
    case .illTyped(let tensor, let key, let expected, let got):
      "tensor `\(tensor)`: expected \(expected) as `\(key)`, got \(got)."
    case .negative(let tensor, let key, let value):
      "tensor `\(tensor)`: expected no negative number in `\(key)`, got \(value)."
    case .unknownType(let tensor, let type):
      "tensor `\(tensor)`: expected an element type such as F32, got `\(type)`."
    case .unsupportedType(let tensor, let type):
      "tensor `\(tensor)`: elements of type \(type) are not supported; store it as F16 or F32."
    case .shapeOverflow(let tensor, let shape):
      "tensor `\(tensor)`: the bytes of shape \(shape) do not fit into 64 bits."
    case .sizeTooLarge(let tensor, let shape):
      "tensor `\(tensor)`: expected sizes of at most \(Int32.max), got shape \(shape)."
    case .reversedRange(let tensor, let start, let end):
      "tensor `\(tensor)`: expected an end behind the start, got bytes \(start) to \(end)."
    case .outsideFile(let tensor, let end, let available):
      "tensor `\(tensor)` ends at byte \(end) of the data, but the file holds \(available); "
        + "the file is truncated or damaged."
    case .wrongByteCount(let tensor, let shape, let type, let expected, let got):
      "tensor `\(tensor)`: expected \(expected) bytes for shape \(shape) of \(type), got \(got)."
    case .overlap(let first, let second): "tensors `\(first)` and `\(second)` share bytes."
    case .hole(let tensor, let start, let end):
      "bytes \(start) to \(end) of the data, before tensor `\(tensor)`, belong to no tensor."
    case .trailingBytes(let count): "\(count) bytes after the last tensor belong to no tensor."
    case .notABoolean(let tensor, let byte):
      "tensor `\(tensor)`: expected Booleans of 0 or 1, got \(byte)."
    case .shrunk(let tensor): "the file became shorter while tensor `\(tensor)` was read."
    case .noSuchTensor(let name): "expected a tensor `\(name)`, but the file has none."
    }
  }
}
