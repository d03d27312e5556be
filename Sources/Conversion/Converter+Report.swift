import Layers
import MLX
import MLXNN
import Models
import Operators
import Reports
import OrderedCollections

extension Converter {
  /// Times the layers and both models, and puts all figures together.
  func report(
    stages: [StageReport], errors: [String: Double], heldOut: TokenBatches
  ) throws -> ConversionReport {
    // The commonest length stands for the texts.
    let longest = heldOut.batches.max { $0.tokens.count < $1.tokens.count }
    let tokens = longest?.tokens.first?.count ?? 1
    let texts = options.timedTexts
    let pool = (longest ?? heldOut.batches[0]).tokens
    let batch = (0..<texts).map { pool[$0 % pool.count] }
    let input = MLXArray(batch.flatMap(\.self), [texts, tokens])
    let models = try measure(
      [original, converted].map { encoder in
        { [encoder.model.hiddenStates(tokens: input)] }
      })
    return ConversionReport(
      model: name, rules: options.rules.map(\.description), stages: stages,
      layers: try layerReports(errors: errors, texts: texts, tokens: tokens),
      modelParameters: [original, converted].map { encoder in
        encoder.model.parameters().values.reduce(0) { $0 + $1.size }
      },
      modelMilliseconds: models.map(\.median), batch: [texts, tokens], machine: .current())
  }

  private func layerReports(
    errors: [String: Double], texts: Int, tokens: Int
  ) throws -> [LayerReport] {
    let dense = try unaryLayers(of: original.model, at: plan.layers.map(\.path))
    let structured = try unaryLayers(of: converted.model, at: plan.layers.map(\.path))
    // Layers of one shape and structure take the same time: each kind is measured once.
    var timings: [String: (dense: Double, converted: Double)] = [:]
    return try plan.layers.enumerated().map { index, layer in
      let kind = layer.structure.description
      if timings[kind] == nil {
        let x = MLXRandom.normal([texts, tokens, layer.structure.inputs], key: MLXRandom.key(0))
        try x.eval()
        let pair = try measure(
          [{ [dense[index].layer(x)] }, { [structured[index].layer(x)] }], seconds: 0.2)
        timings[kind] = (pair[0].median, pair[1].median)
      }
      let timing = timings[kind] ?? (.nan, .nan)
      return LayerReport(
        path: layer.path, spec: "\(layer.structure.spec)", inputs: layer.structure.inputs,
        outputs: layer.structure.outputs, error: errors[layer.path],
        parameters: layer.structure.cost.parameters,
        multiplyAdds: layer.structure.cost.multiplyAdds, milliseconds: timing.converted,
        denseMilliseconds: timing.dense)
    }
  }
}
