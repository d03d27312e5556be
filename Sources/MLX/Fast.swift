import CMLX

/// Operations that MLX has as one kernel.
public enum MLXFast {
  /// Layer normalisation over the last axis: (x − mean) / √(variance + eps) · weight + bias.
  public static func layerNorm(
    _ x: MLXArray, weight: MLXArray? = nil, bias: MLXArray? = nil, eps: Float
  ) -> MLXArray {
    let present = [x] + [weight, bias].compactMap(\.self)
    return .running(present) {
      cmlx_layer_norm(
        &$0, $1[0], weight == nil ? nil : $1[1], bias == nil ? nil : $1[$1.count - 1], eps)
    }
  }

  /// Root-mean-square normalisation over the last axis: x / √(mean of squares + eps) · weight.
  public static func rmsNorm(_ x: MLXArray, weight: MLXArray? = nil, eps: Float) -> MLXArray {
    .running([x] + [weight].compactMap(\.self)) {
      cmlx_rms_norm(&$0, $1[0], $1.count > 1 ? $1[1] : nil, eps)
    }
  }

  /// Rotary position embedding of x [..., T, D] on the first `dimensions` of D, positions counted
  /// from `offset`.
  ///
  /// The pairs turn by position · scale / freqs, with `freqs` [dimensions / 2]; where none are given
  /// these are base^(2i / dimensions).
  public static func RoPE(
    _ x: MLXArray, dimensions: Int, traditional: Bool, base: Float, scale: Float, offset: Int,
    freqs: MLXArray? = nil
  ) -> MLXArray {
    .running([x] + [freqs].compactMap(\.self)) {
      cmlx_rope(
        &$0, $1[0], Int32(clamping: dimensions), traditional, base, scale, Int32(clamping: offset),
        $1.count > 1 ? $1[1] : nil)
    }
  }

  /// How attention hides positions.
  public enum AttentionMask {
    /// Every query sees every key.
    case none
    /// A query sees the keys at its own position and before.
    case causal
    /// A `bool` array (true where a query sees a key) or one that is added to the scores,
    /// broadcasting to [B, heads, queries, keys].
    case array(MLXArray)
  }

  /// softmax(queries keysᵀ · scale + mask) values, with [B, heads, T, D] each.
  ///
  /// There may be fewer heads of keys and values than of queries, each shared by as many.
  public static func scaledDotProductAttention(
    queries: MLXArray, keys: MLXArray, values: MLXArray, scale: Float,
    mask: AttentionMask = .none
  ) -> MLXArray {
    var inputs = [queries, keys, values]
    var causal = false
    switch mask {
    case .none: break
    case .causal: causal = true
    case .array(let array): inputs.append(array)
    }
    return .running(inputs) {
      cmlx_attention(&$0, $1[0], $1[1], $1[2], scale, causal, $1.count > 3 ? $1[3] : nil)
    }
  }
}
