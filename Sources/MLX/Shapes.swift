import CMLX

extension MLXArray {
  /// The same elements in row-major order with another shape; one size may be −1, to be inferred.
  public func reshaped(_ shape: [Int]) -> MLXArray {
    let shape = int32(shape)
    return .running([self]) { cmlx_reshape(&$0, $1[0], shape, shape.count) }
  }

  /// The same elements in row-major order with another shape; one size may be −1, to be inferred.
  public func reshaped(_ shape: Int...) -> MLXArray { reshaped(shape) }

  /// The elements converted to another type.
  public func asType(_ type: DType) -> MLXArray {
    type == dtype && failure == nil ? self : .running([self]) { cmlx_astype(&$0, $1[0], type.c) }
  }

  /// The elements converted to another type.
  public func asType<T: HasDType>(_ type: T.Type) -> MLXArray { asType(T.dtype) }

  /// The bits read as another type; the last axis changes with the element size.
  public func view(dtype: DType) -> MLXArray {
    .running([self]) { cmlx_view(&$0, $1[0], dtype.c) }
  }

  /// The axes reversed.
  public func transposed() -> MLXArray { transposed(axes: Array((0..<ndim).reversed())) }

  /// The axes in the given order.
  public func transposed(_ axes: Int...) -> MLXArray { transposed(axes: axes) }

  /// The axes in the given order.
  public func transposed(axes: [Int]) -> MLXArray {
    let axes = int32(axes)
    return .running([self]) { cmlx_transpose(&$0, $1[0], axes, axes.count) }
  }

  /// The axes reversed.
  public var T: MLXArray { transposed() }

  /// Two axes exchanged.
  public func swappedAxes(_ axis1: Int, _ axis2: Int) -> MLXArray {
    .running([self]) {
      cmlx_swapaxes(&$0, $1[0], Int32(clamping: axis1), Int32(clamping: axis2))
    }
  }

  /// One axis moved to another place.
  public func movedAxis(source: Int, destination: Int) -> MLXArray {
    .running([self]) {
      cmlx_moveaxis(&$0, $1[0], Int32(clamping: source), Int32(clamping: destination))
    }
  }

  /// New axes of size one at the given places of the result.
  public func expandedDimensions(axes: [Int]) -> MLXArray {
    let axes = int32(axes)
    return .running([self]) { cmlx_expand_dims(&$0, $1[0], axes, axes.count) }
  }

  /// A new axis of size one at the given place of the result.
  public func expandedDimensions(axis: Int) -> MLXArray { expandedDimensions(axes: [axis]) }

  /// Without the given axes, which have size one.
  public func squeezed(axes: [Int]) -> MLXArray {
    let axes = int32(axes)
    return .running([self]) { cmlx_squeeze(&$0, $1[0], axes, axes.count) }
  }

  /// Without the given axis, which has size one.
  public func squeezed(axis: Int) -> MLXArray { squeezed(axes: [axis]) }

  /// Without all axes of size one.
  public func squeezed() -> MLXArray {
    squeezed(axes: shape.indices.filter { shape[$0] == 1 })
  }

  /// The axes from `start` to `end` as one.
  public func flattened(start: Int = 0, end: Int = -1) -> MLXArray {
    let sizes = shape
    let first = start < 0 ? start + sizes.count : start
    let last = end < 0 ? end + sizes.count : end
    guard failure == nil, !sizes.isEmpty else { return reshaped([-1]) }
    guard first >= 0, last < sizes.count, first <= last else {
      return MLXArray(
        failure: MLXError(
          "[flattened] expected axes in order among the \(sizes.count) of shape \(sizes), got "
            + "\(start) to \(end)."))
    }
    return reshaped(
      Array(sizes[..<first]) + [sizes[first...last].reduce(1, *)] + Array(sizes[(last + 1)...]))
  }

  /// The pieces of an axis cut into equal parts.
  public func split(parts: Int, axis: Int = 0) -> [MLXArray] {
    MLXArray.running([self], count: Swift.max(1, parts)) {
      cmlx_split_into(&$0, $1[0], Int32(clamping: parts), Int32(clamping: axis))
    }
  }

  /// The pieces of an axis cut before each of the given positions.
  public func split(indices: [Int], axis: Int = 0) -> [MLXArray] {
    let indices = int32(indices)
    return MLXArray.running([self], count: indices.count + 1) {
      cmlx_split_at(&$0, $1[0], indices, indices.count, Int32(clamping: axis))
    }
  }
}

/// The pieces of an axis cut into equal parts.
public func split(_ array: MLXArray, parts: Int, axis: Int = 0) -> [MLXArray] {
  array.split(parts: parts, axis: axis)
}

/// The same elements seen with the given shape, axes of size one repeated.
public func broadcast(_ array: MLXArray, to shape: [Int]) -> MLXArray {
  let shape = int32(shape)
  return .running([array]) { cmlx_broadcast_to(&$0, $1[0], shape, shape.count) }
}

/// The arrays one after the other along an axis.
public func concatenated(_ arrays: [MLXArray], axis: Int = 0) -> MLXArray {
  .running(arrays) { cmlx_concatenate(&$0, $1, $1.count, Int32(clamping: axis)) }
}

/// The arrays along a new axis.
public func stacked(_ arrays: [MLXArray], axis: Int = 0) -> MLXArray {
  .running(arrays) { cmlx_stack(&$0, $1, $1.count, Int32(clamping: axis)) }
}

/// Each element repeated along an axis.
public func repeated(_ array: MLXArray, count: Int, axis: Int) -> MLXArray {
  .running([array]) { cmlx_repeat(&$0, $1[0], Int32(clamping: count), Int32(clamping: axis)) }
}

/// The whole array repeated along each axis.
public func tiled(_ array: MLXArray, repetitions: [Int]) -> MLXArray {
  let counts = int32(repetitions)
  return .running([array]) { cmlx_tile(&$0, $1[0], counts, counts.count) }
}

/// The array with a border of the given value: `widths[i]` elements before and after on axis i.
public func padded(
  _ array: MLXArray, widths: [(Int, Int)], value: MLXArray? = nil
) -> MLXArray {
  let low = int32(widths.map(\.0))
  let high = int32(widths.map(\.1))
  guard widths.count == array.ndim || array.failure != nil else {
    return MLXArray(
      failure: MLXError(
        "[padded] expected a width for each of \(array.ndim) axes, got \(widths.count)."))
  }
  let value = value ?? MLXArray(0, dtype: array.dtype)
  return .running([array, value]) { cmlx_pad(&$0, $1[0], low, high, low.count, $1[1]) }
}

/// The same elements, laid out in row-major order.
public func contiguous(_ array: MLXArray) -> MLXArray {
  .running([array]) { cmlx_contiguous(&$0, $1[0]) }
}

/// The elements at arbitrary strides (in elements) of the row-major array.
///
/// MLX does not check that the strides stay inside the array; this does, and fails if they don't.
public func asStrided(
  _ array: MLXArray, _ shape: [Int], strides: [Int], offset: Int = 0
) -> MLXArray {
  // In floating point, which cannot overflow and is exact as long as the answer can be yes.
  let reaches = zip(shape, strides).map { Double(max(0, $0 - 1)) * Double($1) }
  let first = reaches.reduce(Double(offset)) { $0 + min(0, $1) }
  let last = reaches.reduce(Double(offset)) { $0 + max(0, $1) }
  let inside = first >= 0 && (last < Double(array.size) || shape.contains(0))
  guard array.failure != nil || (shape.count == strides.count && inside) else {
    return MLXArray(
      failure: MLXError(
        "[asStrided] expected strides that stay inside \(array.size) elements, got shape "
          + "\(shape) with strides \(strides) from \(offset)."))
  }
  let dimensions = int32(shape)
  let steps = strides.map { Int64($0) }
  return .running([contiguous(array)]) {
    cmlx_as_strided(&$0, $1[0], dimensions, steps, dimensions.count, offset)
  }
}

/// The matrix with the vector on a diagonal, or the diagonal of a matrix as a vector.
public func diag(_ array: MLXArray, k: Int = 0) -> MLXArray {
  .running([array]) { cmlx_diag(&$0, $1[0], Int32(clamping: k)) }
}

/// The diagonals of the matrices that two axes span, as the last axis.
public func diagonal(
  _ array: MLXArray, offset: Int = 0, axis1: Int = 0, axis2: Int = 1
) -> MLXArray {
  .running([array]) {
    cmlx_diagonal(
      &$0, $1[0], Int32(clamping: offset), Int32(clamping: axis1), Int32(clamping: axis2))
  }
}
