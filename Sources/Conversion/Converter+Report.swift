import Layers
import MLX
import MLXNN
import Models
import Operators
import OrderedCollections
import Reports

extension Converter {
  /// Times the layers and both models, and puts all figures together.
  func report(
    stages: [StageReport], errors: [String: Double], heldOut: [ExampleBatch]
  ) throws -> ConversionReport {
    let input = try timedInput(heldOut)
    let models = try measure(
      [original, converted].map { subject in { [subject.model.run(input)] } })
    return ConversionReport(
      model: name, rules: options.rules.map(\.description), stages: stages,
      layers: try layerReports(errors: errors, input: input),
      modelParameters: [original, converted].map { subject in
        subject.model.parameters().values.reduce(0) { $0 + $1.size }
      },
      modelMilliseconds: models.map(\.median), batch: input.shape, machine: .current())
  }

  /// Examples of the largest batch, again from the start where it has too few: of texts those of the
  /// commonest length.
  private func timedInput(_ batches: [ExampleBatch]) throws -> MLXArray {
    let count = options.timedExamples ?? type(of: original).amounts.timed
    let largest = batches.max { $0.count < $1.count } ?? batches[0]
    let pool = try largest.inputs()
    let rows = (0..<count).map { Int32($0 % largest.count) }
    let input = take(pool, MLXArray(rows), axis: 0)
    try eval(input)
    return input
  }

  private func layerReports(
    errors: [String: Double], input: MLXArray
  ) throws -> [LayerReport] {
    let dense = try unaryLayers(of: original.model, at: plan.layers.map(\.path))
    let structured = try unaryLayers(of: converted.model, at: plan.layers.map(\.path))
    let calls = try LayerTrace(of: original.model, inputs: input).calls
    // Layers of one shape and structure take the same time: each kind is measured once.
    var timings: [String: (dense: Double, converted: Double)] = [:]
    return try plan.layers.enumerated().map { index, layer in
      // A layer that never runs is timed on one row an example.
      let shape = calls[layer.path]?.inputShape ?? [input.dim(0), layer.structure.inputs]
      let kind = "\(layer.structure) \(shape)"
      if timings[kind] == nil {
        let x = MLXRandom.normal(shape, key: MLXRandom.key(0))
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
