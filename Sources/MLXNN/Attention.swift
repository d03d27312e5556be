import MLX

/// Attention of several heads, each softmax(Q Kᵀ / √D) V on its part of projected inputs.
///
/// Queries [B, T, K], keys and values [B, S, K] → [B, T, N]. The projections are replaceable, under
/// the keys `query_proj`, `key_proj`, `value_proj` and `out_proj`.
///
/// Source: Vaswani et al., "Attention is all you need", 2017, section 3.2.2.
open class MultiHeadAttention: Module {
  /// How many heads share the projected dimensions.
  public let numHeads: Int
  /// Makes the queries.
  @ModuleInfo(key: "query_proj") public var queryProjection: any UnaryLayer
  /// Makes the keys.
  @ModuleInfo(key: "key_proj") public var keyProjection: any UnaryLayer
  /// Makes the values.
  @ModuleInfo(key: "value_proj") public var valueProjection: any UnaryLayer
  /// Mixes the heads.
  @ModuleInfo(key: "out_proj") public var outProjection: any UnaryLayer

  /// Attention in which every projection has the given size, a multiple of the number of heads;
  /// inputs of another size and the output's size can be given.
  public init(
    dimensions: Int, numHeads: Int, queryInputDimensions: Int? = nil,
    keyInputDimensions: Int? = nil, valueInputDimensions: Int? = nil,
    valueDimensions: Int? = nil, valueOutputDimensions: Int? = nil, bias: Bool = false
  ) {
    self.numHeads = numHeads
    let values = valueDimensions ?? dimensions
    let keyInputs = keyInputDimensions ?? dimensions
    _queryProjection.wrappedValue = Linear(
      queryInputDimensions ?? dimensions, dimensions, bias: bias)
    _keyProjection.wrappedValue = Linear(keyInputs, dimensions, bias: bias)
    _valueProjection.wrappedValue = Linear(
      valueInputDimensions ?? keyInputs, values, bias: bias)
    _outProjection.wrappedValue = Linear(values, valueOutputDimensions ?? dimensions, bias: bias)
  }

  /// The attended values; a failed array if the heads do not divide the projections.
  open func callAsFunction(
    _ queries: MLXArray, keys: MLXArray, values: MLXArray,
    mask: MLXFast.AttentionMask = .none
  ) -> MLXArray {
    func heads(_ x: MLXArray) -> MLXArray {
      x.reshaped([x.dim(0), x.dim(1), numHeads, -1]).transposed(0, 2, 1, 3)
    }
    let q = heads(queryProjection(queries))
    let attended = MLXFast.scaledDotProductAttention(
      queries: q, keys: heads(keyProjection(keys)), values: heads(valueProjection(values)),
      scale: (1 / Float(Swift.max(1, q.dim(-1)))).squareRoot(), mask: mask)
    return outProjection(attended.transposed(0, 2, 1, 3).flattened(start: -2))
  }

  /// A mask [T, T] to add to scores, under which a position sees itself and those before.
  public static func createAdditiveCausalMask(_ count: Int, dtype: DType = .float32) -> MLXArray {
    let positions = arange(count)
    let later = positions.expandedDimensions(axis: 0) .> positions.expandedDimensions(axis: 1)
    // Large, yet finite in every type: infinities of a wholly hidden row would give NaN.
    let hidden = dtype == .float16 ? -65504 : -1e9
    return which(later, MLXArray(hidden, dtype: dtype), MLXArray(0, dtype: dtype))
  }
}

/// Rotary position embedding of [..., T, D].
///
/// Pairs of the first `dimensions` of D are turned by the position times base^(−2i/dimensions);
/// pairs are neighbours if `traditional`, else half of `dimensions` apart.
///
/// Source: Su et al., "RoFormer", 2021, equation 34.
open class RoPE: Module, UnaryLayer {
  /// How many of the last axis are turned.
  public let dimensions: Int
  /// Whether pairs are neighbours.
  public let traditional: Bool
  /// The base of the wavelengths.
  public let base: Float
  /// What positions are multiplied by.
  public let scale: Float

  /// An embedding of the given size.
  public init(
    dimensions: Int, traditional: Bool = false, base: Float = 10000, scale: Float = 1
  ) {
    self.dimensions = dimensions
    self.traditional = traditional
    self.base = base
    self.scale = scale
  }

  /// The vectors turned by their positions, counted from 0.
  open func callAsFunction(_ x: MLXArray) -> MLXArray { self(x, offset: 0) }

  /// The vectors turned by their positions, counted from `offset`.
  open func callAsFunction(_ x: MLXArray, offset: Int) -> MLXArray {
    MLXFast.RoPE(
      x, dimensions: dimensions, traditional: traditional, base: base, scale: scale,
      offset: offset)
  }
}
