import Foundation
import TestSupport
import Testing

@testable import MLX

/// One test for each way to break a safetensors file.
@Suite struct SafetensorsAttackTests {
  typealias Reason = SafetensorsError.Reason

  /// A broken file, and what its reader has to say about it.
  struct Attack: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let bytes: [UInt8]
    let reason: Reason

    init(_ name: String, header: String, data: Int = 0, _ reason: Reason) {
      self.init(name, bytes: file(header, data), reason)
    }

    init(_ name: String, bytes: [UInt8], _ reason: Reason) {
      testDescription = name
      self.bytes = bytes
      self.reason = reason
    }
  }

  private static func file(_ header: String, _ data: Int) -> [UInt8] {
    prefix(UInt64(header.utf8.count)) + Array(header.utf8) + [UInt8](repeating: 0, count: data)
  }

  private static func prefix(_ length: UInt64) -> [UInt8] {
    withUnsafeBytes(of: length.littleEndian) { Array($0) }
  }

  private static func tensor(
    _ name: String = "a", _ type: String = "F32", _ shape: String = "[2]", _ range: String
  ) -> String {
    #""\#(name)":{"dtype":"\#(type)","shape":\#(shape),"data_offsets":\#(range)}"#
  }

  private static func read(_ bytes: [UInt8]) throws -> [String: MLXArray] {
    try withTemporaryFolder { folder in
      let url = folder.appending(path: "model.safetensors")
      try Data(bytes).write(to: url)
      return try loadArrays(url: url)
    }
  }

  static let attacks: [Attack] = [
    Attack("an empty file", bytes: [], .tooShort(bytes: 0)),
    Attack("half a header length", bytes: [1, 0, 0], .tooShort(bytes: 3)),
    Attack(
      "a header beyond the limit", bytes: prefix(100_000_001) + [1],
      .headerTooLong(bytes: 100_000_001, limit: 100_000_000)),
    Attack(
      "the longest header length", bytes: prefix(.max),
      .headerTooLong(bytes: .max, limit: 100_000_000)),
    Attack(
      "a header longer than the file", bytes: prefix(10) + Array("{}".utf8),
      .headerTruncated(bytes: 10, available: 2)),
    Attack(
      "an empty header", header: "", .headerNotJSON("expected a value at byte 0")),
    Attack(
      "a header that is no JSON", header: "{x}",
      .headerNotJSON("expected a key in quotes at byte 1")),
    Attack(
      "a second document", header: "{}{}",
      .headerNotJSON("expected the end of the text at byte 2")),
    Attack(
      "deep nesting", header: String(repeating: "[", count: 100_000),
      .headerNotJSON("more than 128 levels of lists and objects")),
    Attack(
      "a header that is not UTF-8", bytes: prefix(4) + [0x7B, 0x22, 0xFF, 0x7D],
      .headerNotUTF8(offset: 2)),
    Attack("a header that is a list", header: "[]", .headerNotAnObject(got: "a list of 0")),
    Attack(
      "a tensor twice", header: "{\(tensor("[0,8]")),\(tensor("[8,16]"))}", data: 16,
      .duplicateKey("a")),
    Attack(
      "a tensor twice under an escaped name",
      header: "{\(tensor("[0,8]")),\(tensor("\\u0061", "[8,16]"))}", data: 16,
      .duplicateKey("a")),
    Attack(
      "a type twice",
      header: #"{"a":{"dtype":"F32","dtype":"F16","shape":[2],"data_offsets":[0,8]}}"#, data: 8,
      .duplicateKey("dtype")),
    Attack(
      "metadata that are no object", header: #"{"__metadata__":3}"#,
      .badMetadata(key: "__metadata__", got: "3")),
    Attack(
      "metadata that are no string", header: #"{"__metadata__":{"format":1}}"#,
      .badMetadata(key: "format", got: "1")),
    Attack(
      "a tensor that is no object", header: #"{"a":7}"#,
      .illTyped(tensor: "a", key: "a", expected: "an object", got: "7")),
    Attack(
      "no type", header: #"{"a":{"shape":[2],"data_offsets":[0,8]}}"#, data: 8,
      .missingKey(tensor: "a", key: "dtype")),
    Attack(
      "no shape", header: #"{"a":{"dtype":"F32","data_offsets":[0,8]}}"#, data: 8,
      .missingKey(tensor: "a", key: "shape")),
    Attack(
      "no offsets", header: #"{"a":{"dtype":"F32","shape":[2]}}"#, data: 8,
      .missingKey(tensor: "a", key: "data_offsets")),
    Attack(
      "an unknown type", header: "{\(tensor("a", "F33", "[0,8]"))}", data: 8,
      .unknownType(tensor: "a", type: "F33")),
    Attack(
      "a type that arrays lack", header: "{\(tensor("a", "F8_E4M3", "[0,2]"))}", data: 2,
      .unsupportedType(tensor: "a", type: "F8_E4M3")),
    Attack(
      "a type that is no string",
      header: #"{"a":{"dtype":32,"shape":[2],"data_offsets":[0,8]}}"#, data: 8,
      .illTyped(tensor: "a", key: "dtype", expected: "a string", got: "32")),
    Attack(
      "a shape of fractions", header: "{\(tensor("a", "F32", "[2.5]", "[0,8]"))}", data: 8,
      .illTyped(tensor: "a", key: "shape", expected: "a list of whole numbers", got: "2.5")),
    Attack(
      "a negative size", header: "{\(tensor("a", "F32", "[-2]", "[0,8]"))}", data: 8,
      .negative(tensor: "a", key: "shape", value: -2)),
    Attack(
      "a negative offset", header: "{\(tensor("[-8,0]"))}", data: 8,
      .negative(tensor: "a", key: "data_offsets", value: -8)),
    Attack(
      "an offset beyond 64 bits", header: "{\(tensor("[0,99999999999999999999]"))}", data: 8,
      .illTyped(
        tensor: "a", key: "data_offsets", expected: "a list of two whole numbers",
        got: "99999999999999999999")),
    Attack(
      "three offsets", header: "{\(tensor("[0,4,8]"))}", data: 8,
      .illTyped(
        tensor: "a", key: "data_offsets", expected: "a list of two whole numbers",
        got: "a list of 3")),
    Attack(
      "offsets in reverse", header: "{\(tensor("[8,0]"))}", data: 8,
      .reversedRange(tensor: "a", start: 8, end: 0)),
    Attack(
      "truncated data", header: "{\(tensor("[0,8]"))}", data: 7,
      .outsideFile(tensor: "a", end: 8, available: 7)),
    Attack(
      "the largest offset", header: "{\(tensor("[0,9223372036854775807]"))}", data: 8,
      .outsideFile(tensor: "a", end: .max, available: 8)),
    Attack(
      "a shape that overflows",
      header: "{\(tensor("a", "F32", "[4294967296,4294967296]", "[0,0]"))}",
      .shapeOverflow(tensor: "a", shape: [4_294_967_296, 4_294_967_296])),
    Attack(
      "a shape that overflows by its element size",
      header: "{\(tensor("a", "F64", "[2147483647,2147483647]", "[0,0]"))}",
      .shapeOverflow(tensor: "a", shape: [2_147_483_647, 2_147_483_647])),
    Attack(
      "a size beyond 32 bits", header: "{\(tensor("a", "F32", "[0,2147483648]", "[0,0]"))}",
      .sizeTooLarge(tensor: "a", shape: [0, 2_147_483_648])),
    Attack(
      "a shape too small for its bytes", header: "{\(tensor("[0,12]"))}", data: 12,
      .wrongByteCount(tensor: "a", shape: [2], type: "F32", expected: 8, got: 12)),
    Attack(
      "a type too large for its bytes", header: "{\(tensor("a", "F64", "[0,8]"))}", data: 8,
      .wrongByteCount(tensor: "a", shape: [2], type: "F64", expected: 16, got: 8)),
    Attack(
      "shared bytes", header: "{\(tensor("a", "[0,8]")),\(tensor("b", "[4,12]"))}", data: 12,
      .overlap("a", "b")),
    Attack(
      "the same bytes", header: "{\(tensor("a", "[0,8]")),\(tensor("b", "[0,8]"))}", data: 8,
      .overlap("a", "b")),
    Attack(
      "a hole", header: "{\(tensor("a", "[0,8]")),\(tensor("b", "[12,20]"))}", data: 20,
      .hole(before: "b", start: 8, end: 12)),
    Attack(
      "a hole at the start", header: "{\(tensor("[4,12]"))}", data: 12,
      .hole(before: "a", start: 0, end: 4)),
    Attack(
      "trailing bytes", header: "{\(tensor("[0,8]"))}", data: 9, .trailingBytes(1)),
    Attack("data without tensors", header: "{}", data: 3, .trailingBytes(3)),
    Attack(
      "a Boolean of 2",
      bytes: file("{\(tensor("a", "BOOL", "[0,2]"))}", 0) + [1, 2],
      .notABoolean(tensor: "a", byte: 2)),
  ]

  private static func tensor(_ range: String) -> String { tensor("a", range) }
  private static func tensor(_ name: String, _ range: String) -> String {
    tensor(name, "F32", range)
  }
  private static func tensor(_ name: String, _ type: String, _ range: String) -> String {
    tensor(name, type, "[2]", range)
  }

  @Test(arguments: attacks) func brokenFileIsRefusedWithItsReason(_ attack: Attack) throws {
    let error = try #require(throws: SafetensorsError.self) {
      try SafetensorsAttackTests.read(attack.bytes)
    }
    #expect(error.reason == attack.reason)
    #expect(error.description.contains("model.safetensors"))
  }

  @Test func missingFilesAndFoldersAreRefused() throws {
    try withTemporaryFolder { folder in
      let folderError = #expect(throws: SafetensorsError.self) { try loadArrays(url: folder) }
      #expect(folderError?.reason == .notAFile)
      let missing = #expect(throws: SafetensorsError.self) {
        try loadArrays(url: folder.appending(path: "none"))
      }
      #expect(missing?.description.contains("No such file") == true)
    }
  }

  @Test func aMissingTensorAndAShrunkFileAreRefused() throws {
    try withTemporaryFolder { folder in
      let url = folder.appending(path: "model.safetensors")
      try save(arrays: ["a": MLXArray([Float](repeating: 1, count: 8))], url: url)
      let file = try SafetensorsFile(url: url)
      let missing = #expect(throws: SafetensorsError.self) { try file.array("b") }
      #expect(missing?.reason == .noSuchTensor("b"))
      let handle = try FileHandle(forWritingTo: url)
      try handle.truncate(atOffset: 80)
      try handle.close()
      let shrunk = #expect(throws: SafetensorsError.self) { try file.array("a") }
      #expect(shrunk?.reason == .shrunk(tensor: "a"))
    }
  }

  /// Every prefix of a file and many random changes of it are read or refused: nothing else.
  @Test func damagedFilesAreReadOrRefused() throws {
    let header = "{\(Self.tensor("a", "[0,8]")),\(Self.tensor("b", "I8", "[8,10]"))}"
    let whole = Self.file(header, 10)
    #expect(try Self.read(whole).count == 2)
    try withTemporaryFolder { folder in
      let url = folder.appending(path: "model.safetensors")
      for count in whole.indices {
        try Data(whole.prefix(count)).write(to: url)
        #expect(throws: SafetensorsError.self) { try loadArrays(url: url) }
      }
      var generator = SplitMix(state: 1)
      for _ in 0..<200 {
        var bytes = whole
        for _ in 0..<Int.random(in: 1...3, using: &generator) {
          bytes[Int.random(in: bytes.indices, using: &generator)] = UInt8.random(
            in: 0...255, using: &generator)
        }
        try Data(bytes).write(to: url)
        do {
          for (_, array) in try loadArrays(url: url) { try array.eval() }
        } catch is SafetensorsError {}
      }
    }
  }
}
