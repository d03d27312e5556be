import CMLX

func int32(_ values: [Int]) -> [Int32] { values.map { Int32(clamping: $0) } }

/// Whether all elements are true over the given axes.
public func all(_ a: MLXArray, axes: [Int], keepDims: Bool = false) -> MLXArray {
  let axes = int32(axes)
  return .running([a]) { cmlx_all(&$0, $1[0], axes, axes.count, keepDims) }
}

/// Whether all elements are true over one axis.
public func all(_ a: MLXArray, axis: Int, keepDims: Bool = false) -> MLXArray {
  all(a, axes: [axis], keepDims: keepDims)
}

/// Whether all elements are true over all elements.
public func all(_ a: MLXArray, keepDims: Bool = false) -> MLXArray {
  all(a, axes: Array(0..<a.ndim), keepDims: keepDims)
}

/// Whether any element is true over the given axes.
public func any(_ a: MLXArray, axes: [Int], keepDims: Bool = false) -> MLXArray {
  let axes = int32(axes)
  return .running([a]) { cmlx_any(&$0, $1[0], axes, axes.count, keepDims) }
}

/// Whether any element is true over one axis.
public func any(_ a: MLXArray, axis: Int, keepDims: Bool = false) -> MLXArray {
  any(a, axes: [axis], keepDims: keepDims)
}

/// Whether any element is true over all elements.
public func any(_ a: MLXArray, keepDims: Bool = false) -> MLXArray {
  any(a, axes: Array(0..<a.ndim), keepDims: keepDims)
}

/// log Σ eˣ without overflow over the given axes.
public func logSumExp(_ a: MLXArray, axes: [Int], keepDims: Bool = false) -> MLXArray {
  let axes = int32(axes)
  return .running([a]) { cmlx_logsumexp(&$0, $1[0], axes, axes.count, keepDims) }
}

/// log Σ eˣ without overflow over one axis.
public func logSumExp(_ a: MLXArray, axis: Int, keepDims: Bool = false) -> MLXArray {
  logSumExp(a, axes: [axis], keepDims: keepDims)
}

/// log Σ eˣ without overflow over all elements.
public func logSumExp(_ a: MLXArray, keepDims: Bool = false) -> MLXArray {
  logSumExp(a, axes: Array(0..<a.ndim), keepDims: keepDims)
}

/// The largest elements over the given axes.
public func max(_ a: MLXArray, axes: [Int], keepDims: Bool = false) -> MLXArray {
  let axes = int32(axes)
  return .running([a]) { cmlx_max(&$0, $1[0], axes, axes.count, keepDims) }
}

/// The largest elements over one axis.
public func max(_ a: MLXArray, axis: Int, keepDims: Bool = false) -> MLXArray {
  max(a, axes: [axis], keepDims: keepDims)
}

/// The largest elements over all elements.
public func max(_ a: MLXArray, keepDims: Bool = false) -> MLXArray {
  max(a, axes: Array(0..<a.ndim), keepDims: keepDims)
}

/// The means over the given axes.
public func mean(_ a: MLXArray, axes: [Int], keepDims: Bool = false) -> MLXArray {
  let axes = int32(axes)
  return .running([a]) { cmlx_mean(&$0, $1[0], axes, axes.count, keepDims) }
}

/// The means over one axis.
public func mean(_ a: MLXArray, axis: Int, keepDims: Bool = false) -> MLXArray {
  mean(a, axes: [axis], keepDims: keepDims)
}

/// The means over all elements.
public func mean(_ a: MLXArray, keepDims: Bool = false) -> MLXArray {
  mean(a, axes: Array(0..<a.ndim), keepDims: keepDims)
}

/// The smallest elements over the given axes.
public func min(_ a: MLXArray, axes: [Int], keepDims: Bool = false) -> MLXArray {
  let axes = int32(axes)
  return .running([a]) { cmlx_min(&$0, $1[0], axes, axes.count, keepDims) }
}

/// The smallest elements over one axis.
public func min(_ a: MLXArray, axis: Int, keepDims: Bool = false) -> MLXArray {
  min(a, axes: [axis], keepDims: keepDims)
}

/// The smallest elements over all elements.
public func min(_ a: MLXArray, keepDims: Bool = false) -> MLXArray {
  min(a, axes: Array(0..<a.ndim), keepDims: keepDims)
}

/// The products over the given axes.
public func product(_ a: MLXArray, axes: [Int], keepDims: Bool = false) -> MLXArray {
  let axes = int32(axes)
  return .running([a]) { cmlx_prod(&$0, $1[0], axes, axes.count, keepDims) }
}

/// The products over one axis.
public func product(_ a: MLXArray, axis: Int, keepDims: Bool = false) -> MLXArray {
  product(a, axes: [axis], keepDims: keepDims)
}

/// The products over all elements.
public func product(_ a: MLXArray, keepDims: Bool = false) -> MLXArray {
  product(a, axes: Array(0..<a.ndim), keepDims: keepDims)
}

/// The sums over the given axes.
public func sum(_ a: MLXArray, axes: [Int], keepDims: Bool = false) -> MLXArray {
  let axes = int32(axes)
  return .running([a]) { cmlx_sum(&$0, $1[0], axes, axes.count, keepDims) }
}

/// The sums over one axis.
public func sum(_ a: MLXArray, axis: Int, keepDims: Bool = false) -> MLXArray {
  sum(a, axes: [axis], keepDims: keepDims)
}

/// The sums over all elements.
public func sum(_ a: MLXArray, keepDims: Bool = false) -> MLXArray {
  sum(a, axes: Array(0..<a.ndim), keepDims: keepDims)
}

/// The variances over the given axes, with the divisor count − ddof.
public func variance(_ a: MLXArray, axes: [Int], keepDims: Bool = false, ddof: Int = 0) -> MLXArray
{
  let axes = int32(axes)
  return .running([a]) {
    cmlx_variance(&$0, $1[0], axes, axes.count, keepDims, Int32(clamping: ddof))
  }
}

/// The variances over one axis, with the divisor count − ddof.
public func variance(_ a: MLXArray, axis: Int, keepDims: Bool = false, ddof: Int = 0) -> MLXArray {
  variance(a, axes: [axis], keepDims: keepDims, ddof: ddof)
}

/// The positions of the largest elements along an axis, as `uint32`.
public func argMax(_ a: MLXArray, axis: Int, keepDims: Bool = false) -> MLXArray {
  .running([a]) { cmlx_argmax(&$0, $1[0], Int32(clamping: axis), keepDims) }
}

/// The positions of the smallest elements along an axis, as `uint32`.
public func argMin(_ a: MLXArray, axis: Int, keepDims: Bool = false) -> MLXArray {
  .running([a]) { cmlx_argmin(&$0, $1[0], Int32(clamping: axis), keepDims) }
}

/// Softmax over one axis; `precise` accumulates in float32.
public func softmax(_ a: MLXArray, axis: Int = -1, precise: Bool = false) -> MLXArray {
  .running([a]) { cmlx_softmax(&$0, $1[0], [Int32(clamping: axis)], 1, precise) }
}

/// The sums of the elements up to each position along an axis.
public func cumsum(
  _ a: MLXArray, axis: Int, reverse: Bool = false, inclusive: Bool = true
) -> MLXArray {
  .running([a]) { cmlx_cumsum(&$0, $1[0], Int32(clamping: axis), reverse, inclusive) }
}

/// The square root of the sum of squares over the given axes, over all elements without them.
public func norm(_ a: MLXArray, axes: [Int]? = nil, keepDims: Bool = false) -> MLXArray {
  // MLX's own takes two axes at most.
  let real = a.dtype.isFloatingPoint ? a : abs(a).asType(.float32)
  return sqrt(sum(square(real), axes: axes ?? Array(0..<a.ndim), keepDims: keepDims))
}

extension MLXArray {
  /// Whether all elements are true over the given axes.
  public func all(axes: [Int], keepDims: Bool = false) -> MLXArray {
    MLX.all(self, axes: axes, keepDims: keepDims)
  }

  /// Whether all elements are true over one axis.
  public func all(axis: Int, keepDims: Bool = false) -> MLXArray {
    MLX.all(self, axis: axis, keepDims: keepDims)
  }

  /// Whether all elements are true over all elements.
  public func all(keepDims: Bool = false) -> MLXArray { MLX.all(self, keepDims: keepDims) }

  /// Whether any element is true over the given axes.
  public func any(axes: [Int], keepDims: Bool = false) -> MLXArray {
    MLX.any(self, axes: axes, keepDims: keepDims)
  }

  /// Whether any element is true over one axis.
  public func any(axis: Int, keepDims: Bool = false) -> MLXArray {
    MLX.any(self, axis: axis, keepDims: keepDims)
  }

  /// Whether any element is true over all elements.
  public func any(keepDims: Bool = false) -> MLXArray { MLX.any(self, keepDims: keepDims) }

  /// log Σ eˣ without overflow over the given axes.
  public func logSumExp(axes: [Int], keepDims: Bool = false) -> MLXArray {
    MLX.logSumExp(self, axes: axes, keepDims: keepDims)
  }

  /// log Σ eˣ without overflow over one axis.
  public func logSumExp(axis: Int, keepDims: Bool = false) -> MLXArray {
    MLX.logSumExp(self, axis: axis, keepDims: keepDims)
  }

  /// log Σ eˣ without overflow over all elements.
  public func logSumExp(keepDims: Bool = false) -> MLXArray {
    MLX.logSumExp(self, keepDims: keepDims)
  }

  /// The largest elements over the given axes.
  public func max(axes: [Int], keepDims: Bool = false) -> MLXArray {
    MLX.max(self, axes: axes, keepDims: keepDims)
  }

  /// The largest elements over one axis.
  public func max(axis: Int, keepDims: Bool = false) -> MLXArray {
    MLX.max(self, axis: axis, keepDims: keepDims)
  }

  /// The largest elements over all elements.
  public func max(keepDims: Bool = false) -> MLXArray { MLX.max(self, keepDims: keepDims) }

  /// The means over the given axes.
  public func mean(axes: [Int], keepDims: Bool = false) -> MLXArray {
    MLX.mean(self, axes: axes, keepDims: keepDims)
  }

  /// The means over one axis.
  public func mean(axis: Int, keepDims: Bool = false) -> MLXArray {
    MLX.mean(self, axis: axis, keepDims: keepDims)
  }

  /// The means over all elements.
  public func mean(keepDims: Bool = false) -> MLXArray { MLX.mean(self, keepDims: keepDims) }

  /// The smallest elements over the given axes.
  public func min(axes: [Int], keepDims: Bool = false) -> MLXArray {
    MLX.min(self, axes: axes, keepDims: keepDims)
  }

  /// The smallest elements over one axis.
  public func min(axis: Int, keepDims: Bool = false) -> MLXArray {
    MLX.min(self, axis: axis, keepDims: keepDims)
  }

  /// The smallest elements over all elements.
  public func min(keepDims: Bool = false) -> MLXArray { MLX.min(self, keepDims: keepDims) }

  /// The products over the given axes.
  public func product(axes: [Int], keepDims: Bool = false) -> MLXArray {
    MLX.product(self, axes: axes, keepDims: keepDims)
  }

  /// The products over one axis.
  public func product(axis: Int, keepDims: Bool = false) -> MLXArray {
    MLX.product(self, axis: axis, keepDims: keepDims)
  }

  /// The products over all elements.
  public func product(keepDims: Bool = false) -> MLXArray { MLX.product(self, keepDims: keepDims) }

  /// The sums over the given axes.
  public func sum(axes: [Int], keepDims: Bool = false) -> MLXArray {
    MLX.sum(self, axes: axes, keepDims: keepDims)
  }

  /// The sums over one axis.
  public func sum(axis: Int, keepDims: Bool = false) -> MLXArray {
    MLX.sum(self, axis: axis, keepDims: keepDims)
  }

  /// The sums over all elements.
  public func sum(keepDims: Bool = false) -> MLXArray { MLX.sum(self, keepDims: keepDims) }

  /// The variances over one axis, with the divisor count − ddof.
  public func variance(axis: Int, keepDims: Bool = false, ddof: Int = 0) -> MLXArray {
    MLX.variance(self, axis: axis, keepDims: keepDims, ddof: ddof)
  }

  /// The positions of the largest elements along an axis, as `uint32`.
  public func argMax(axis: Int, keepDims: Bool = false) -> MLXArray {
    MLX.argMax(self, axis: axis, keepDims: keepDims)
  }
}
