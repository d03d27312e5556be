import Foundation
import Layers
import MLX
import Models
import Operators
import TestSupport
import Testing

@testable import Conversion

@Suite struct ModelBenchmarkTests {
  private func benchmark(
    _ make: @escaping () -> any CheckpointModel, _ specs: [String], layers: [String] = [],
    batch: Int = 3, tokens: Int = 5, dtype: DType = .float32
  ) throws -> ModelBenchmark {
    try ModelBenchmark.run(
      models: [
        (
          name: "small",
          make: {
            let model = make()
            try model.initialize(key: MLXRandom.key(0))
            return model
          }
        )
      ], specs: specs.map { try OperatorSpec(parsing: $0) },
      layers: layers.map { LayerPattern($0) }, batch: batch, tokens: tokens, dtype: dtype)
  }

  private let llama = LlamaConfiguration(
    vocabularySize: 50, maximumLength: 9, hiddenSize: 16, layerCount: 2, headCount: 4,
    keyValueHeadCount: 2, intermediateSize: 24)
  private let vit = ViTConfiguration(
    imageSize: 8, patchSize: 4, hiddenSize: 12, layerCount: 2, headCount: 3, classCount: 5)

  @Test(arguments: [DType.float32, .bfloat16])
  func figuresFitTogether(_ dtype: DType) throws {
    let result = try benchmark(
      { LlamaModel(llama) }, ["stl:rank=16,rows=batch", "lowrank:rank=2"], dtype: dtype)
    #expect(result.rows.map(\.spec) == [nil, "stl:rank=16,rows=batch", "lowrank:rank=2"])
    #expect(result.rows.map(\.structuredLayers) == [0, 14, 14])
    #expect(result.batch == 3 && result.tokens == 5 && result.units == .tokens)
    #expect(result.rows[0].ratio == 1 && result.rows[0].multiplyAdds == 1)
    for row in result.rows {
      let seconds = row.timing.median / 1e3
      expectClose(
        [row.throughput, row.ratio],
        [15 / seconds, result.rows[0].timing.median / row.timing.median], .relative(1e-9))
      #expect(row.peakBytes >= row.parameterBytes && row.parameterBytes > 0)
      #expect((row.joules == nil) == (Device.default == .cpu))
      #expect(result.table.contains(row.spec ?? row.model))
    }
    // Without norms: tables 2·50·16, and per layer Q and O 16·16, K and V 8·16, three of 16·24.
    let linear = 2 * (2 * 16 * 16 + 2 * 8 * 16 + 3 * 16 * 24)
    #expect(result.rows[0].parameterBytes == (2 * 50 * 16 + linear + 5 * 16) * dtype.size)
    let cost = try OperatorSpec.lowRank(rank: 2).makeOperator(inputs: 16, outputs: 16).cost
    #expect(cost.multiplyAdds == 64)
    let lowRank = 2 * 2.0 * Double(2 * 32 + 2 * 24 + 3 * 40)
    expectClose(
      [result.rows[2].multiplyAdds], [lowRank / Double(linear)], .relative(1e-9))
  }

  @Test func imagesAndPatternsOfLayers() throws {
    let result = try benchmark(
      { ViTModel(vit) }, ["stl:rank=24"], layers: ["*.intermediate.dense"], batch: 2)
    #expect(result.units == .images && result.tokens == nil && result.rows[1].structuredLayers == 2)
    #expect(result.table.contains("2 images") && result.table.contains("images/s"))
    #expect(result.layers == ["*.intermediate.dense"])
    let all = try benchmark({ ViTModel(vit) }, ["stl:rank=24"])
    // The projection of patches and the classifier are not of the stack.
    #expect(all.rows[1].structuredLayers == 12)
  }

  @Test func whatCannotBeMeasuredIsRefused() throws {
    #expect(throws: StrassenTileError.self) {
      try benchmark({ LlamaModel(llama) }, ["stl:rank=16"])
    }
    func sentence(_ body: () throws -> ModelBenchmark) -> String {
      do {
        _ = try body()
        return ""
      } catch { return "\(error)" }
    }
    #expect(
      sentence { try benchmark({ LlamaModel(llama) }, [], tokens: 10) }.contains("at most 9 tokens")
    )
    #expect(
      sentence { try benchmark({ ViTModel(vit) }, ["2:4"], layers: ["none"]) }.contains("'none'"))
  }

  @Test func shapesAndFoldersAreToldApart() throws {
    #expect(ModelSource("tinyllama") == .shape(.tinyLlama))
    #expect("\(ModelSource("vit-l-16"))" == "vit-l-16")
    #expect("\(ModelSource("/tmp/some/model/"))" == "model")
    for shape in ModelShape.allCases {
      #expect(ModelShape(rawValue: shape.rawValue) == shape)
    }
    #expect((ModelShape.vitHuge14.makeModel() as? ViTModel)?.configuration == .huge14)
    let result = try ModelBenchmark.run(
      model: .folder(SmallModel.folder), against: .folder(SmallModel.folder), specs: [], batch: 2,
      tokens: 4)
    #expect(result.rows.count == 2 && result.units == .tokens)
  }
}
