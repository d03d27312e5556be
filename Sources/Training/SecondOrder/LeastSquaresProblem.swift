import MLX

/// Something whose loss is half the sum of squared residuals.
public protocol LeastSquaresProblem {
  /// The residuals [n] at parameters.
  func residuals(_ parameters: [MLXArray]) -> MLXArray

  /// Their Jacobian there.
  func jacobian(_ parameters: [MLXArray]) throws -> any Jacobian
}

/// A problem given by its residuals alone: a single layer of any structure that is refitted, say.
public struct FunctionProblem: LeastSquaresProblem {
  private let function: ([MLXArray]) -> MLXArray
  private let count: Int

  /// A problem with `count` residuals.
  public init(count: Int, residuals: @escaping ([MLXArray]) -> MLXArray) {
    (self.count, function) = (count, residuals)
  }

  /// The residuals [n].
  public func residuals(_ parameters: [MLXArray]) -> MLXArray { function(parameters) }

  /// Their Jacobian, by differentiation.
  public func jacobian(_ parameters: [MLXArray]) throws -> any Jacobian {
    FunctionJacobian(of: function, at: parameters, rowCount: count)
  }
}

/// A multilayer perceptron on n examples: residuals are outputs minus targets.
///
/// Parameters are weights [N, K], one array a layer; a bias is a column of weights of an input that
/// is always one. The layers after them are fixed.
public struct PerceptronProblem: LeastSquaresProblem {
  /// Inputs [n, K].
  public let inputs: MLXArray
  /// Targets [n, C].
  public let targets: MLXArray
  /// Weights of layers that follow and are not trained.
  public let fixed: [MLXArray]

  private let activation: (MLXArray) -> MLXArray

  /// A problem with an activation after each layer but the last.
  public init(
    inputs: MLXArray, targets: MLXArray, fixed: [MLXArray] = [],
    activation: @escaping (MLXArray) -> MLXArray = { maximum($0, 0) }
  ) {
    (self.inputs, self.targets, self.fixed) = (inputs, targets, fixed)
    self.activation = activation
  }

  /// The outputs [n, C] for inputs [n, K].
  public func outputs(_ parameters: [MLXArray], inputs: MLXArray) -> MLXArray {
    run(parameters, inputs, moved: nil).outputs
  }

  /// Outputs minus targets [n·C].
  public func residuals(_ parameters: [MLXArray]) -> MLXArray {
    (outputs(parameters, inputs: inputs) - targets).flattened()
  }

  /// The factors of the Jacobian: one reverse pass an output.
  public func jacobian(_ parameters: [MLXArray]) throws -> any Jacobian {
    let (n, outputCount) = (targets.dim(0), targets.dim(1))
    let zeros = parameters.map { MLXArray.zeros([n, $0.dim(0)]) }
    let layerInputs = run(parameters, inputs, moved: nil).layerInputs
    let unit = MLXArray.eye(outputCount)
    // A shift of a layer's outputs has the derivative that its weights' gradient is made of; examples
    // do not depend on each other, so one pass gives all of theirs.
    let signals = try (0..<outputCount).map { output in
      let cotangent = broadcast(unit[output], to: [n, outputCount])
      return try vjp(
        { [run(parameters, inputs, moved: $0).outputs] }, primals: zeros, cotangents: [cotangent]
      ).gradients
    }
    return LayeredJacobian(
      blocks: parameters.indices.map { layer in
        // Row i·C + c belongs to output c of example i.
        let signal = stacked(signals.map { $0[layer] }, axis: 1)
        return LayeredJacobian.Block(
          inputs: repeated(layerInputs[layer], count: outputCount, axis: 0),
          signals: signal.reshaped([n * outputCount, signal.dim(2)]))
      })
  }

  private func run(
    _ parameters: [MLXArray], _ inputs: MLXArray, moved: [MLXArray]?
  ) -> (outputs: MLXArray, layerInputs: [MLXArray]) {
    var x = inputs
    var layerInputs: [MLXArray] = []
    for (layer, weight) in (parameters + fixed).enumerated() {
      if layer > 0 { x = activation(x) }
      if layer < parameters.count { layerInputs.append(x) }
      x = matmul(x, weight.T)
      if let moved, layer < parameters.count { x = x + moved[layer] }
    }
    return (x, layerInputs)
  }
}
