import MLX

/// The keys and values that the layers of a language model have computed for the tokens so far, so
/// that a further token costs one row of products and not all of them again.
public final class KeyValueCache {
  /// The part of one layer.
  final class Layer {
    /// The tokens that are held.
    private(set) var length = 0
    private var keys: MLXArray?
    private var values: MLXArray?

    /// Room is made for so many tokens at a time: each time costs a copy.
    private static let step = 256

    /// Appends keys and values [B, heads, T, D]; gives those of all tokens [B, heads, S, D].
    func appending(_ newKeys: MLXArray, _ newValues: MLXArray) -> (MLXArray, MLXArray) {
      let end = length + newKeys.dim(2)
      let allKeys = Layer.extended(keys, by: newKeys, from: length, to: end)
      let allValues = Layer.extended(values, by: newValues, from: length, to: end)
      (keys, values, length) = (allKeys, allValues, end)
      return (allKeys[0..., 0..., 0..<end], allValues[0..., 0..., 0..<end])
    }

    private static func extended(
      _ held: MLXArray?, by new: MLXArray, from start: Int, to end: Int
    ) -> MLXArray {
      let capacity = (end + step - 1) / step * step
      let missing = capacity - (held?.dim(2) ?? 0)
      var room = held ?? new[0..., 0..., 0..<0]
      if missing > 0 {
        let more = MLXArray.zeros(
          [new.dim(0), new.dim(1), missing, new.dim(3)], dtype: new.dtype)
        room = concatenated([room, more], axis: 2)
      }
      room[0..., 0..., start..<end] = new
      return room
    }
  }

  let layers: [Layer]

  /// An empty cache for a model with so many layers.
  public init(layerCount: Int) {
    layers = (0..<layerCount).map { _ in Layer() }
  }

  /// The number of tokens that are held.
  public var length: Int { layers.first?.length ?? 0 }
}

/// Attention in which every token sees itself and those before it: queries [B, heads, T, D], keys
/// and values [B, fewer heads, T, D] → [B, T, heads · D].
///
/// With a cache the tokens follow those it holds, and join them.
func causalAttention(
  _ queries: MLXArray, _ keys: MLXArray, _ values: MLXArray, cache: KeyValueCache.Layer?
) -> MLXArray {
  let (keys, values) = cache?.appending(keys, values) ?? (keys, values)
  return fullAttention(queries, keys, values, mask: queries.dim(2) > 1 ? .causal : .none)
}
