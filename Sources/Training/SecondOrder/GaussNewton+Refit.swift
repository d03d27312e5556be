import MLX
import Operators
import OrderedCollections

extension FunctionProblem {
  /// A layer of any structure that is to give outputs [M, N] for inputs [M, K]; parameters in the
  /// order of its shapes, residuals M·N.
  public init(refitting layer: any LinearOperator, inputs: MLXArray, outputs: MLXArray) {
    let names = Array(layer.shapes.keys)
    self.init(count: outputs.size) { arrays in
      let parameters = Parameters(uniqueKeysWithValues: zip(names, arrays))
      return (layer.apply(inputs, parameters) - outputs).flattened()
    }
  }
}

extension GaussNewton {
  /// Refits all parameters of a layer together to outputs [M, N] for inputs [M, K], where alternating
  /// least squares would hold all but one of them.
  ///
  /// Derivatives go through the layer, so no Jacobian is stored, and nothing preconditions: give an
  /// optimiser without. Throws the error of a failed array.
  public mutating func refit(
    _ layer: any LinearOperator, _ parameters: Parameters, inputs: MLXArray, outputs: MLXArray,
    steps: Int
  ) throws -> (parameters: Parameters, reports: [Report]) {
    let problem = FunctionProblem(refitting: layer, inputs: inputs, outputs: outputs)
    var arrays = layer.shapes.keys.compactMap { parameters[$0] }
    var reports: [Report] = []
    for _ in 0..<steps {
      let (moved, report) = try step(problem, parameters: arrays)
      arrays = moved
      reports.append(report)
    }
    return (Parameters(uniqueKeysWithValues: zip(layer.shapes.keys, arrays)), reports)
  }
}
