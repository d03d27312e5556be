import MLX

/// A model that runs in stages, each on what the one before it gave: what works through a model
/// layer by layer needs no more than the hidden states between two stages.
public protocol StagedModel: CheckpointModel {
  /// How many stages there are.
  var stageCount: Int { get }
  /// The stages that repeat: the blocks of a transformer, the hidden layers of a perceptron.
  ///
  /// Those before turn inputs into hidden states; those after turn the last hidden states into
  /// logits, if the model has any.
  var stack: Range<Int> { get }
  /// Inputs that every model of these sizes takes, to see what runs without running it.
  var placeholder: MLXArray { get }

  /// What a stage makes of the outputs of the stage before it; the first one's inputs have been
  /// checked.
  func advanced(_ x: MLXArray, through stage: Int) -> MLXArray
}

extension StagedModel {
  /// The outputs of the last stage for the inputs of a stage, the first where none is given.
  public func run(_ x: MLXArray, from stage: Int = 0) -> MLXArray {
    (stage..<stageCount).reduce(x) { advanced($0, through: $1) }
  }

  /// The outputs of every stage from one on, the first where none is given, for its inputs.
  ///
  /// `between` is applied to what one stage hands to the next: `stopGradient` makes every stage
  /// learn from its own error alone.
  public func states(
    of x: MLXArray, from first: Int = 0, between: (MLXArray) -> MLXArray = { $0 }
  ) -> [MLXArray] {
    var states: [MLXArray] = []
    for stage in first..<stageCount {
      states.append(advanced(states.last.map(between) ?? x, through: stage))
    }
    return states
  }
}
