import Foundation
import MLX
import MLXNN
import Models
import Operators
import OrderedCollections
import TestSupport
import Testing

@testable import Layers

@Suite struct CheckpointTests {
  private let query = "encoder.layer.0.attention.self.query"
  private let wide = "encoder.layer.1.intermediate.dense"

  @Test(arguments: [
    "dense", "lowrank:rank=3", "kronecker", "tt:rank=2", "monarch:blocks=3", "btt:rank=2",
    "btt:rank=2,norm=true", "2:4", "stl:rank=24", "stl:rank=49,rows=batch", "stl:rank=7,tile=2",
  ])
  func aSavedLayerComesBack(_ spec: String) throws {
    let checkpoint = try BERTCheckpoint(
      folder: CheckpointFolder(url: SmallModel.folder), structuredLayers: .standard)
    let sizes = [(query, 39), (wide, 51)]
    var layers: [String: StructuredLinear] = [:]
    for (index, (path, outputs)) in sizes.enumerated() {
      layers[path] = try StructuredLinear(
        OperatorSpec(parsing: spec), inputs: 39, outputs: outputs,
        key: MLXRandom.key(UInt64(index)))
    }
    try checkpoint.model.update(modules: layers.map { (key: $0.key, value: $0.value as Module) })
    try withTemporaryFolder { folder in
      let copy = folder.appending(path: "copy")
      try checkpoint.write(to: copy)
      let files = try CheckpointFolder(url: copy)
      let again = try BERTCheckpoint(folder: files, structuredLayers: .standard)
      let input = BERTInput(tokens: [[2, 40, 50, 60, 3]])
      try expectClose(
        again.model(input), checkpoint.model(input), .roundings(16, of: .float32))
      for (path, layer) in layers {
        let back = try #require(again.model.namedModules()[path] as? StructuredLinear)
        #expect(back.structure.description == layer.structure.description)
        #expect(files.tensor("\(path).weight") == nil)
        for (name, array) in layer.parameters() {
          #expect(files.tensor("\(path).\(name)")?.dtype == array.dtype)
          let loaded = try #require(back.parameters()[name])
          #expect(loaded.dtype == array.dtype && loaded.shape == array.shape)
          #expect(try loaded.asArray(Double.self) == array.asArray(Double.self))
        }
      }
    }
  }
}
