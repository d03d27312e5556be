import Foundation
import MLX
import Testing

/// Arrays that scripts/golden/nn.py took from PyTorch.
struct GoldenCase: Decodable {
  private let arrays: [String: GoldenArray]

  private struct GoldenArray: Decodable {
    let shape: [Int]
    let values: [Double]
  }

  init(from decoder: any Decoder) throws {
    arrays = try decoder.singleValueContainer().decode([String: GoldenArray].self)
  }

  var names: [String] { arrays.keys.sorted() }

  /// The array of a name as `float32`.
  func callAsFunction(_ name: String) throws -> MLXArray {
    let array = try #require(arrays[name], "no golden array \(name)")
    return MLXArray(array.values, array.shape)
  }

  /// A case, by its name, of a file.
  static func named(_ name: String, in file: String) throws -> GoldenCase {
    try #require(try golden(file, as: [String: GoldenCase].self)[name], "no golden case \(name)")
  }
}

/// The content of a golden file.
func golden<Content: Decodable>(_ file: String, as type: Content.Type) throws -> Content {
  let url = try #require(
    Bundle.module.url(forResource: file, withExtension: "json", subdirectory: "Golden"))
  return try JSONDecoder().decode(type, from: Data(contentsOf: url))
}
