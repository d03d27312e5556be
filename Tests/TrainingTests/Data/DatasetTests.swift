import Foundation
import MLX
import TestSupport
import Testing

@testable import Training

@Suite struct DatasetTests {
  @Test(arguments: [false, true]) func windowsAreConsecutiveTokens(wide: Bool) throws {
    try withTemporaryFolder { folder in
      let data = try Sets.tokens(folder.appending(path: "set"), wide: wide)
      let set = try data.tokens(.train, length: 8)
      #expect(set.count == 124 && set.tokenCount == 1000 && set.documentCount == 1)
      let batch = try set.examples(3..<5)
      #expect(batch.inputs.shape == [2, 8] && batch.targets.shape == [2, 8])
      #expect(batch.inputs.dtype == .int32 && batch.targets.dtype == .int32)
      #expect(try batch.inputs.asArray(Int32.self) == (24..<40).map { Int32($0) })
      #expect(try batch.targets.asArray(Int32.self) == (25..<41).map { Int32($0) })
      // The last window ends with the last token that a whole window has.
      let last = try set.examples(123..<124)
      #expect(try last.targets.asArray(Int32.self).last == Int32(992 % 97))
    }
  }

  @Test func everyWindowComesOnceAnEpoch() throws {
    try withTemporaryFolder { folder in
      let set = try Sets.tokens(folder.appending(path: "set"), vocabulary: 60_000)
        .tokens(.train, length: 9, seed: 5)
      var starts: [Int32] = []
      for step in 0..<37 {
        let batch = try set.batch(step: step, size: 3, part: 0, of: 1)
        starts += try batch.inputs[0..., 0].asArray(Int32.self)
      }
      #expect(starts.count == set.count)
      #expect(starts.sorted() == (0..<111).map { Int32($0 * 9) })
      #expect(starts != starts.sorted())
    }
  }

  @Test func partsTogetherAreTheWholeBatch() throws {
    try withTemporaryFolder { folder in
      let data = try Sets.tokens(folder.appending(path: "set"))
      let set = try data.tokens(.train, length: 4, seed: 9)
      let whole = try set.batch(step: 7, size: 6, part: 0, of: 1).inputs.asArray(Int32.self)
      let parts = try (0..<3).flatMap {
        try set.batch(step: 7, size: 6, part: $0, of: 3).inputs.asArray(Int32.self)
      }
      #expect(parts == whole)
    }
  }

  @Test func prefetchedBatchesAreTheSame() throws {
    try withTemporaryFolder { folder in
      let set = try Sets.tokens(folder.appending(path: "set")).tokens(.train, length: 4, seed: 2)
      let ahead = set.prefetched(depth: 3)
      #expect(ahead.count == set.count)
      // In order, with a jump back, a jump ahead and another size.
      for (step, size) in [(0, 4), (1, 4), (2, 4), (1, 4), (50, 4), (51, 2), (52, 2)] {
        let expected = try set.batch(step: step, size: size, part: 0, of: 1)
        let got = try ahead.batch(step: step, size: size, part: 0, of: 1)
        #expect(try got.inputs.asArray(Int32.self) == expected.inputs.asArray(Int32.self))
        #expect(try got.targets.asArray(Int32.self) == expected.targets.asArray(Int32.self))
      }
      #expect(throws: DatasetError.self) {
        try ahead.batch(step: 0, size: 5, part: 0, of: 2)
      }
    }
  }

  @Test func imagesAreNormalised() throws {
    try withTemporaryFolder { folder in
      let set = try Sets.images(folder.appending(path: "set")).images(.train)
      let batch = try set.examples(2..<4)
      #expect(batch.inputs.shape == [2, 5, 6, 2] && batch.inputs.dtype == .float32)
      #expect(batch.targets.shape == [2] && batch.targets.dtype == .int32)
      #expect(try batch.targets.asArray(Int32.self) == [2, 0])
      let expected = (120..<240).map { index in
        let value = Double(UInt8(truncatingIfNeeded: index &* 7)) / 255
        return index % 2 == 0 ? (value - 0.5) / 0.25 : (value - 0.25) / 0.5
      }
      expectClose(
        try batch.inputs.asArray(Double.self), expected, .roundings(8, of: .float32))
    }
  }

  // MARK: - Damage

  @Test func aChangedByteIsFound() throws {
    try withTemporaryFolder { folder in
      let folder = folder.appending(path: "set")
      let data = try Sets.tokens(folder)
      try data.verify()
      let file = folder.appending(path: "train.tokens")
      var bytes = try Data(contentsOf: file)
      bytes[500] ^= 1
      try bytes.write(to: file)
      #expect(throws: DatasetError.self) { try Dataset.open(at: folder).verify() }
    }
  }

  @Test func aShorterFileIsRefusedWhenOpened() throws {
    try withTemporaryFolder { folder in
      let folder = folder.appending(path: "set")
      _ = try Sets.tokens(folder)
      let file = folder.appending(path: "validation.tokens")
      try (try Data(contentsOf: file)).dropLast().write(to: file)
      #expect(
        throws: DatasetError.wrongSize(
          file: file.path(percentEncoded: false), expected: 100, got: 99)
      ) { try Dataset.open(at: folder) }
    }
  }

  @Test(arguments: [
    "", "[]", "{}", "{\"tessera_dataset\": 2}", "{\"tessera_dataset\": 1, \"kind\": \"sounds\"}",
    "{\"tessera_dataset\": 1, \"kind\": \"tokens\", \"vocabulary\": -3, \"separator\": 0}",
    """
    {"tessera_dataset": 1, "kind": "tokens", "vocabulary": 3, "separator": 0, "train":
    {"tokens": {"dtype": "uint16", "shape": [9223372036854775807, 9], "checksum": "0"}}}
    """,
    """
    {"tessera_dataset": 1, "kind": "tokens", "vocabulary": 3, "separator": 0, "train":
    {"../x": {"dtype": "uint16", "shape": [1], "checksum": "0"}}, "validation": {}}
    """,
  ]) func damagedHeadersAreRefused(text: String) throws {
    try withTemporaryFolder { folder in
      try Data(text.utf8).write(to: folder.appending(path: "dataset.json"))
      #expect(throws: DatasetError.self) { try Dataset.open(at: folder) }
    }
  }

  @Test func tokensOutsideTheVocabularyAreRefused() throws {
    try withTemporaryFolder { folder in
      let folder = folder.appending(path: "set")
      _ = try Sets.tokens(folder)
      let file = folder.appending(path: "train.tokens")
      var bytes = try Data(contentsOf: file)
      bytes[1] = 200
      try bytes.write(to: file)
      let set = try Dataset.open(at: folder).tokens(.train, length: 4)
      #expect(throws: DatasetError.self) { try set.examples(0..<1) }
    }
  }

  @Test func whatIsNotThereIsRefused() throws {
    try withTemporaryFolder { folder in
      let data = try Sets.tokens(folder.appending(path: "set"))
      #expect(throws: DatasetError.self) { try data.images(.train) }
      #expect(throws: DatasetError.self) { try data.tokens(.validation, length: 50) }
      let set = try data.tokens(.validation, length: 7)
      #expect(throws: DatasetError.self) { try set.examples(0..<8) }
      #expect(throws: DatasetError.self) { try Dataset.open(at: folder) }
    }
  }

  @Test func aFailedPreparationLeavesNothing() throws {
    struct Stop: Error {}
    try withTemporaryFolder { folder in
      #expect(throws: Stop.self) {
        _ = try Dataset.write(to: folder.appending(path: "set")) { _ in throw Stop() }
      }
      let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
      #expect(names.isEmpty)
    }
  }
}
