import MLX

/// The Jacobian J [n, P] of n residuals by P parameters at one point, as what can be multiplied by it.
public protocol Jacobian {
  /// The number of residuals, n.
  var rowCount: Int { get }

  /// J v [n] for a direction v, an array for each array of parameters.
  func product(_ direction: [MLXArray]) throws -> MLXArray

  /// Jᵀ u for weights u [n], an array for each array of parameters.
  func transposedProduct(_ weights: MLXArray) throws -> [MLXArray]

  /// J Jᵀ [n, n], `nil` where it would take n passes.
  func gram() -> MLXArray?

  /// Q [n, s] of random columns with E[Q Qᵀ] = J Jᵀ and s at least `columns` where J has as many;
  /// `nil` where it would take s passes.
  func sketch(columns: Int, key: MLXArray) -> MLXArray?
}

/// The Jacobian of any function, by forward and reverse differentiation: nothing is stored.
public struct FunctionJacobian: Jacobian {
  /// The number of residuals.
  public let rowCount: Int

  private let parameters: [MLXArray]
  private let residuals: ([MLXArray]) -> MLXArray

  /// The Jacobian of residuals [n] at parameters.
  public init(
    of residuals: @escaping ([MLXArray]) -> MLXArray, at parameters: [MLXArray], rowCount: Int
  ) {
    (self.parameters, self.residuals, self.rowCount) = (parameters, residuals, rowCount)
  }

  /// One forward derivative.
  public func product(_ direction: [MLXArray]) throws -> MLXArray {
    try jvp({ [residuals($0)] }, primals: parameters, tangents: direction).tangents[0]
  }

  /// One reverse derivative.
  public func transposedProduct(_ weights: MLXArray) throws -> [MLXArray] {
    try vjp({ [residuals($0)] }, primals: parameters, cotangents: [weights]).gradients
  }

  /// There is none: it would take n reverse derivatives.
  public func gram() -> MLXArray? { nil }

  /// There is none.
  public func sketch(columns: Int, key: MLXArray) -> MLXArray? { nil }
}

/// The Jacobian of a network of dense layers: the row of residual i has, for a layer with input
/// x_i [K] and derivative g_i [N] of the residual by the layer's output, the block g_i ⊗ x_i.
///
/// So no row is ever stored: products cost 2·n·K·N multiply-adds a layer, J Jᵀ costs n²(K + N), and a
/// sketch of s columns costs n·K·N.
public struct LayeredJacobian: Jacobian {
  /// A layer's factors.
  public struct Block {
    /// Inputs [n, K].
    let inputs: MLXArray
    /// Derivatives of the residuals by the outputs [n, N].
    let signals: MLXArray
  }

  let blocks: [Block]

  /// The number of residuals.
  public var rowCount: Int { blocks.first?.inputs.dim(0) ?? 0 }

  /// Σ over layers of g_i · V x_i.
  public func product(_ direction: [MLXArray]) throws -> MLXArray {
    zip(blocks, direction).reduce(MLXArray.zeros([rowCount])) { total, pair in
      let (block, v) = pair
      return total + sum(matmul(block.inputs, v.T) * block.signals, axis: 1)
    }
  }

  /// Σ_i u_i g_i x_iᵀ [N, K] a layer.
  public func transposedProduct(_ weights: MLXArray) throws -> [MLXArray] {
    let column = weights.reshaped([rowCount, 1])
    return blocks.map { matmul(($0.signals * column).T, $0.inputs) }
  }

  /// Σ over layers of (G Gᵀ) ∘ (X Xᵀ).
  public func gram() -> MLXArray? {
    blocks.reduce(MLXArray.zeros([rowCount, rowCount])) { total, block in
      total + matmul(block.signals, block.signals.T) * matmul(block.inputs, block.inputs.T)
    }
  }

  /// A count sketch whose buckets are rows of weights, cut into pieces or added in groups as many
  /// columns are wanted: with signs σ [N, K] the column of row o is g_o ∘ (X σ_o), one matrix
  /// product for all, and independent signs make the products of different weights vanish in the mean.
  public func sketch(columns: Int, key: MLXArray) -> MLXArray? {
    let keys = MLXRandom.split(key: key, into: max(2, blocks.count))
    let sketches = zip(blocks, keys).map { block, key in
      let (n, inputs, outputs) = (rowCount, block.inputs.dim(1), block.signals.dim(1))
      let signs = MLXRandom.bernoulli(0.5, [outputs, inputs], key: key).asType(.float32) * 2 - 1
      let pieces = min(inputs, max(1, (columns + outputs - 1) / outputs))
      let width = (inputs + pieces - 1) / pieces
      let columnsOfPieces = stride(from: 0, to: inputs, by: width).map { start in
        let range = start..<min(inputs, start + width)
        return block.signals * matmul(block.inputs[0..., range], signs[0..., range].T)
      }
      let group = outputs / columns
      guard group > 1 else { return concatenated(columnsOfPieces, axis: 1) }
      let whole = outputs / group * group
      let grouped = columnsOfPieces[0][0..., 0..<whole].reshaped([n, whole / group, group])
      let rest = columnsOfPieces[0][0..., whole..<outputs]
      return concatenated([sum(grouped, axis: 2), rest], axis: 1)
    }
    return concatenated(sketches, axis: 1)
  }
}
