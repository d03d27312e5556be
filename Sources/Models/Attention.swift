import MLX

/// Projected rows [B, T, heads · D] as [B, heads, T, D].
func heads(_ x: MLXArray, _ count: Int) -> MLXArray {
  x.reshaped(x.dim(0), x.dim(1), count, x.dim(2) / count).transposed(0, 2, 1, 3)
}

/// softmax(Q Kᵀ · scale) V with every token seeing those that the mask shows: queries
/// [B, heads, T, D], keys and values [B, heads, S, D] → [B, T, heads · D].
///
/// The scale is 1/√D where none is given; there may be fewer heads of keys and values.
func fullAttention(
  _ queries: MLXArray, _ keys: MLXArray, _ values: MLXArray, scale: Float? = nil,
  mask: MLXFast.AttentionMask = .none
) -> MLXArray {
  let attended = MLXFast.scaledDotProductAttention(
    queries: queries, keys: keys, values: values,
    scale: scale ?? 1 / Float(max(1, queries.dim(3))).squareRoot(), mask: mask)
  return attended.transposed(0, 2, 1, 3).flattened(start: 2)
}
