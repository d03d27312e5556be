import CMLX

/// The elements of x where the condition holds, of y elsewhere; all three broadcast.
public func which(_ condition: MLXArray, _ x: MLXArray, _ y: MLXArray) -> MLXArray {
  .running([condition, x, y]) { cmlx_where(&$0, $1[0], $1[1], $1[2]) }
}

/// The elements forced into [min, max].
public func clip(_ a: MLXArray, min: Double, max: Double) -> MLXArray {
  .running([a, MLXArray(min, dtype: a.dtype), MLXArray(max, dtype: a.dtype)]) {
    cmlx_clip(&$0, $1[0], $1[1], $1[2])
  }
}

/// The elements rounded to a number of decimals.
public func round(_ a: MLXArray, decimals: Int = 0) -> MLXArray {
  .running([a]) { cmlx_round(&$0, $1[0], Int32(clamping: decimals)) }
}

/// Whether two arrays have the same shape and equal elements, as a `bool` scalar.
public func arrayEqual(_ a: MLXArray, _ b: MLXArray, equalNAN: Bool = false) -> MLXArray {
  .running([a, b]) { cmlx_array_equal(&$0, $1[0], $1[1], equalNAN) }
}

/// The slices of an axis at the given positions, in their order.
///
/// Positions are not checked against the axis: that would need their values. Check data that comes
/// from outside before it gets here.
public func take(_ a: MLXArray, _ indices: MLXArray, axis: Int) -> MLXArray {
  .running([a, indices]) { cmlx_take(&$0, $1[0], $1[1], Int32(clamping: axis)) }
}

/// The elements at the given positions along an axis; the other axes match.
public func takeAlong(_ a: MLXArray, _ indices: MLXArray, axis: Int) -> MLXArray {
  .running([a, indices]) { cmlx_take_along_axis(&$0, $1[0], $1[1], Int32(clamping: axis)) }
}

/// The array with values put at the given positions along an axis.
public func putAlong(
  _ a: MLXArray, _ indices: MLXArray, values: MLXArray, axis: Int
) -> MLXArray {
  .running([a, indices, values]) {
    cmlx_put_along_axis(&$0, $1[0], $1[1], $1[2], Int32(clamping: axis))
  }
}

/// The array with values added at the given positions along an axis.
public func scatterAddAlong(
  _ a: MLXArray, _ indices: MLXArray, values: MLXArray, axis: Int
) -> MLXArray {
  .running([a, indices, values]) {
    cmlx_scatter_add_axis(&$0, $1[0], $1[1], $1[2], Int32(clamping: axis))
  }
}

/// The elements in ascending order along an axis.
public func sorted(_ a: MLXArray, axis: Int = -1) -> MLXArray {
  .running([a]) { cmlx_sort(&$0, $1[0], Int32(clamping: axis)) }
}

/// The positions that put an axis into ascending order, as `uint32`.
public func argSort(_ a: MLXArray, axis: Int = -1) -> MLXArray {
  .running([a]) { cmlx_argsort(&$0, $1[0], Int32(clamping: axis)) }
}

/// The positions that put the kth smallest element of an axis at k, smaller ones before it.
public func argPartition(_ a: MLXArray, kth: Int, axis: Int = -1) -> MLXArray {
  .running([a]) { cmlx_argpartition(&$0, $1[0], Int32(clamping: kth), Int32(clamping: axis)) }
}

extension MLXArray {
  /// The slices of an axis at the given positions, in their order.
  public func take(_ indices: MLXArray, axis: Int) -> MLXArray {
    MLX.take(self, indices, axis: axis)
  }
}
