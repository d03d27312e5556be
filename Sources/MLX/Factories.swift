import CMLX

extension MLXArray {
  /// An array of zeros.
  public static func zeros(_ shape: [Int], dtype: DType = .float32) -> MLXArray {
    full(shape, values: MLXArray(0, dtype: dtype), dtype: dtype)
  }

  /// An array of ones.
  public static func ones(_ shape: [Int], dtype: DType = .float32) -> MLXArray {
    full(shape, values: MLXArray(1, dtype: dtype), dtype: dtype)
  }

  /// An array of zeros with the shape and type of another.
  public static func zeros(like other: MLXArray) -> MLXArray {
    .running([other]) { cmlx_zeros_like(&$0, $1[0]) }
  }

  /// An array of ones with the shape and type of another.
  public static func ones(like other: MLXArray) -> MLXArray {
    .running([other]) { cmlx_ones_like(&$0, $1[0]) }
  }

  /// An array filled with a value that broadcasts to the shape.
  public static func full(_ shape: [Int], values: MLXArray, dtype: DType? = nil) -> MLXArray {
    let dimensions = int32(shape)
    let type = dtype ?? values.dtype
    return .running([values]) {
      cmlx_full(&$0, dimensions, dimensions.count, $1[0], type.c)
    }
  }

  /// The identity matrix, or a matrix with ones on the diagonal k.
  public static func eye(
    _ rows: Int, m columns: Int? = nil, k: Int = 0, dtype: DType = .float32
  ) -> MLXArray {
    MLXArray(
      .calling {
        cmlx_eye(
          &$0, Int32(clamping: rows), Int32(clamping: columns ?? rows), Int32(clamping: k), dtype.c)
      })
  }

  /// The lower triangle of ones: element (i, j) is 1 where j ≤ i + k.
  public static func tri(
    _ rows: Int, m columns: Int? = nil, k: Int = 0, dtype: DType = .float32
  ) -> MLXArray {
    MLXArray(
      .calling {
        cmlx_tri(
          &$0, Int32(clamping: rows), Int32(clamping: columns ?? rows), Int32(clamping: k), dtype.c)
      })
  }

  /// Equally spaced numbers from start to stop, both included.
  public static func linspace(
    _ start: Double, _ stop: Double, count: Int, dtype: DType = .float32
  ) -> MLXArray {
    MLXArray(.calling { cmlx_linspace(&$0, start, stop, Int32(clamping: count), dtype.c) })
  }
}

/// The numbers start, start + step, … below stop.
public func arange(
  _ start: Double, _ stop: Double, step: Double = 1, dtype: DType = .float32
) -> MLXArray {
  MLXArray(.calling { cmlx_arange(&$0, start, stop, step, dtype.c) })
}

/// The integers 0, 1, … below stop.
public func arange(_ stop: Int, dtype: DType = .int32) -> MLXArray {
  arange(0, Double(stop), dtype: dtype)
}
