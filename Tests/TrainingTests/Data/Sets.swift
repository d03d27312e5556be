import Foundation
import MLX

@testable import Training

/// Small prepared sets.
enum Sets {
  /// `count` tokens a part: 0, 1, 2, … modulo the vocabulary.
  static func tokens(
    _ folder: URL, vocabulary: Int = 97, counts: [Int] = [1000, 50], wide: Bool = false
  ) throws -> Dataset {
    try Dataset.write(to: folder) { folder in
      var arrays: [DatasetPart: [String: (dtype: DType, shape: [Int])]] = [:]
      for (part, count) in zip(DatasetPart.allCases, counts) {
        let values = (0..<count).map { $0 % vocabulary }
        let bytes =
          wide
          ? values.map { UInt32($0).littleEndian }.withUnsafeBytes { Data($0) }
          : values.map { UInt16($0).littleEndian }.withUnsafeBytes { Data($0) }
        try bytes.write(to: folder.appending(path: DatasetHeader.file(part, "tokens")))
        try [UInt64(count)].withUnsafeBytes { Data($0) }
          .write(to: folder.appending(path: DatasetHeader.file(part, "ends")))
        arrays[part] = ["tokens": (wide ? .uint32 : .uint16, [count]), "ends": (.uint64, [1])]
      }
      return (.tokens(vocabularySize: vocabulary, separator: 0), arrays, [:])
    }
  }

  /// Images [5, 6, 2] of bytes that count up, with classes 0, 1, 2 in turn.
  static func images(_ folder: URL, counts: [Int] = [11, 4]) throws -> Dataset {
    try Dataset.write(to: folder) { folder in
      var arrays: [DatasetPart: [String: (dtype: DType, shape: [Int])]] = [:]
      for (part, count) in zip(DatasetPart.allCases, counts) {
        try Data((0..<count * 60).map { UInt8(truncatingIfNeeded: $0 &* 7) })
          .write(to: folder.appending(path: DatasetHeader.file(part, "images")))
        try (0..<count).map { Int32($0 % 3).littleEndian }.withUnsafeBytes { Data($0) }
          .write(to: folder.appending(path: DatasetHeader.file(part, "labels")))
        arrays[part] = ["images": (.uint8, [count, 5, 6, 2]), "labels": (.int32, [count])]
      }
      return (
        .images(height: 5, width: 6, channels: 2, classes: ["a", "b", "c"]), arrays,
        ["mean": [0.5, 0.25], "deviation": [0.25, 0.5]]
      )
    }
  }
}
