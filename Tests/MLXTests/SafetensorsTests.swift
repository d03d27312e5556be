import Foundation
import TestSupport
import Testing

@testable import MLX

@Suite struct SafetensorsTests {
  private func golden(_ name: String) throws -> URL {
    try #require(Bundle.module.url(forResource: name, withExtension: nil, subdirectory: "Golden"))
  }

  /// What `scripts/golden/safetensors_types.py` puts into a tensor of the type.
  private func elements(_ type: DType) -> [Double] {
    switch type {
    case .bool: [0, 1, 0, 1, 0, 1]
    case .uint8, .uint16, .uint32, .uint64, .complex64: [0, 1, 2, 3, 4, 5]
    case .int8, .int16, .int32, .int64: [-2, -1, 0, 1, 2, 3]
    case .float16, .bfloat16, .float32, .float64: [-0.5, -0.25, 0, 0.25, 0.5, 0.75]
    }
  }

  @Test func readsWhatTheReferenceImplementationWrote() throws {
    try Device.withDefaultDevice(.cpu) {
      let (arrays, metadata) = try loadArraysAndMetadata(url: golden("types.safetensors"))
      #expect(arrays.count == DType.allCases.count + 2)
      for type in DType.allCases {
        let array = try #require(arrays[type.rawValue])
        #expect(array.dtype == type && array.shape == [2, 3])
        let real = type == .complex64 ? array.asType(.float32) : array
        #expect(try real.asArray(Double.self) == elements(type), "\(type)")
      }
      #expect(try arrays["scalar"]?.item(Float.self) == 2.5)
      #expect(arrays["empty"]?.shape == [0, 4])
      #expect(metadata == ["format": "pt", "note": "é, \"quoted\"\n🧵"])
    }
  }

  @Test func roundTripsEveryElementType() throws {
    let source = try golden("types.safetensors")
    let (arrays, metadata) = try loadArraysAndMetadata(url: source)
    try withTemporaryFolder { folder in
      let copy = folder.appending(path: "copy.safetensors")
      try save(arrays: arrays, metadata: metadata, url: copy)
      let (again, metadataAgain) = try loadArraysAndMetadata(url: copy)
      #expect(metadataAgain == metadata)
      #expect(again.keys.sorted() == arrays.keys.sorted())
      for (name, array) in arrays {
        #expect(again[name]?.dtype == array.dtype && again[name]?.shape == array.shape)
        #expect(try again[name]?.asBytes() == array.asBytes())
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).count == 1)
    }
  }

  @Test func equalArraysMakeEqualFiles() throws {
    try withTemporaryFolder { folder in
      let urls = ["one", "two"].map { folder.appending(path: $0) }
      for (url, names) in zip(urls, [["a", "b", "c"], ["c", "b", "a"]]) {
        let arrays = names.map { ($0, MLXArray([Float](repeating: 1, count: 3))) }
        try save(
          arrays: Dictionary(uniqueKeysWithValues: arrays), metadata: ["y": "1", "x": "2"],
          url: url)
      }
      #expect(try Data(contentsOf: urls[0]) == Data(contentsOf: urls[1]))
    }
  }

  @Test func dataAreAlignedToTheirElements() throws {
    let header = SafetensorsHeader(
      laying: [("a", .uint8, [3]), ("b", .float64, [1]), ("c", .float16, [5])], metadata: [:])
    #expect(header.encoded.count % 8 == 0)
    for tensor in header.tensors { #expect(tensor.bytes.lowerBound % tensor.dtype.size == 0) }
  }

  @Test func aFailedWriteLeavesTheOldFileAndNothingElse() throws {
    try withTemporaryFolder { folder in
      let url = folder.appending(path: "model.safetensors")
      try save(arrays: ["a": MLXArray(1)], url: url)
      let before = try Data(contentsOf: url)
      let failed = matmul(MLXArray.zeros([2, 3]), MLXArray.zeros([2, 3]))
      #expect(throws: MLXError.self) { try save(arrays: ["a": failed], url: url) }
      #expect(throws: MLXError.self) {
        try AtomicFile.write(to: url) { file in
          try file.append([1, 2, 3])
          throw MLXError("the disk is full")
        }
      }
      #expect(try Data(contentsOf: url) == before)
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).count == 1)
      #expect(throws: FileError.self) {
        try save(arrays: [:], url: folder.appending(path: "nowhere/model.safetensors"))
      }
    }
  }
}
