extension OperatorSpec {
  /// The most inputs or outputs of an operator: the product of two, padded, is counted without
  /// overflow.
  static let largestSide = 1 << 28

  /// The operator of this structure with K inputs and N outputs.
  ///
  /// Throws a sentence where the spec does not fit the sizes.
  public func makeOperator(inputs: Int, outputs: Int) throws -> any LinearOperator {
    for (name, size) in [("inputs", inputs), ("outputs", outputs)]
    where size < 1 || size > Self.largestSide {
      throw SpecError(
        "[spec] expected 1 to \(Self.largestSide) \(name) for '\(self)', got \(size).")
    }
    switch self {
    case .dense:
      return Dense(inputs: inputs, outputs: outputs)
    case .lowRank(let rank):
      return try LowRank(inputs: inputs, outputs: outputs, rank: rank)
    case .kronecker(let input, let output):
      return try Kronecker(inputs: inputs, outputs: outputs, input: input, output: output)
    case .tensorTrain(let rank, let input, let output):
      return try TensorTrain(
        inputs: inputs, outputs: outputs, rank: rank, input: input, output: output)
    case .monarch(let blocks):
      return try Monarch(inputs: inputs, outputs: outputs, blocks: blocks)
    case .blockTensorTrain(let rank, let input, let output, let normalized):
      return try BlockTensorTrain(
        inputs: inputs, outputs: outputs, rank: rank, input: input, output: output,
        normalized: normalized)
    case .kroneckerSparse(let patterns):
      return try KroneckerSparse(inputs: inputs, outputs: outputs, patterns: patterns)
    case .strassenTile(let rank, let tile, let encoder, let rows):
      return try StrassenTile(
        inputs: inputs, outputs: outputs, rank: rank, tile: tile, encoder: encoder, rows: rows)
    case .twoFour:
      return TwoFour(inputs: inputs, outputs: outputs)
    }
  }

  /// Throws unless a rank lies between 1 and the one at which the structure is already lossless.
  func checkRank(_ rank: Int, lossless: Int, inputs: Int, outputs: Int) throws(SpecError) {
    guard rank >= 1, rank <= lossless else {
      throw SpecError(
        "[spec] expected a rank of 1 to \(lossless) in '\(self)' for \(inputs) inputs and "
          + "\(outputs) outputs, got \(rank); more adds cost and nothing else.")
    }
  }
}
