import CMLX

/// The type of an array's elements.
public enum DType: String, Hashable, Sendable, CaseIterable {
  /// True or false, a byte each.
  case bool
  /// An integer from 0 up, of as many bits.
  case uint8, uint16, uint32, uint64
  /// An integer, of as many bits.
  case int8, int16, int32, int64
  /// A floating-point number of as many bits (IEEE 754); `float64` on the CPU only.
  case float16, float32, float64
  /// The upper 16 bits of a `float32`: its range, with 8 significant bits.
  case bfloat16
  /// Two `float32`: real and imaginary part.
  case complex64

  /// In the order of `CMLXType`.
  private static let all = DType.allCases

  init(_ type: CMLXType) {
    self = DType.all[Int(type.rawValue)]
  }

  var c: CMLXType {
    switch self {
    case .bool: CMLX_BOOL
    case .uint8: CMLX_UINT8
    case .uint16: CMLX_UINT16
    case .uint32: CMLX_UINT32
    case .uint64: CMLX_UINT64
    case .int8: CMLX_INT8
    case .int16: CMLX_INT16
    case .int32: CMLX_INT32
    case .int64: CMLX_INT64
    case .float16: CMLX_FLOAT16
    case .float32: CMLX_FLOAT32
    case .float64: CMLX_FLOAT64
    case .bfloat16: CMLX_BFLOAT16
    case .complex64: CMLX_COMPLEX64
    }
  }

  /// Bytes of one element.
  public var size: Int {
    switch self {
    case .bool, .uint8, .int8: 1
    case .uint16, .int16, .float16, .bfloat16: 2
    case .uint32, .int32, .float32: 4
    case .uint64, .int64, .float64, .complex64: 8
    }
  }

  /// Whether the elements are real floating-point numbers.
  public var isFloatingPoint: Bool {
    switch self {
    case .float16, .bfloat16, .float32, .float64: true
    default: false
    }
  }

  /// The unit roundoff 2⁻ᵖ of a floating-point type, where p counts the bits of its significand;
  /// 0 for the other types.
  public var unitRoundoff: Double {
    switch self {
    case .float16: 0x1p-11
    case .bfloat16: 0x1p-8
    case .float32: 0x1p-24
    case .float64: 0x1p-53
    default: 0
    }
  }
}

/// A Swift type that can be an element of an array.
public protocol HasDType: BitwiseCopyable, Sendable {
  /// The element type of MLX that has the same bits.
  static var dtype: DType { get }
}

extension Bool: HasDType {
  /// `bool`.
  public static var dtype: DType { .bool }
}

extension UInt8: HasDType {
  /// `uint8`.
  public static var dtype: DType { .uint8 }
}

extension UInt16: HasDType {
  /// `uint16`.
  public static var dtype: DType { .uint16 }
}

extension UInt32: HasDType {
  /// `uint32`.
  public static var dtype: DType { .uint32 }
}

extension UInt64: HasDType {
  /// `uint64`.
  public static var dtype: DType { .uint64 }
}

extension Int8: HasDType {
  /// `int8`.
  public static var dtype: DType { .int8 }
}

extension Int16: HasDType {
  /// `int16`.
  public static var dtype: DType { .int16 }
}

extension Int32: HasDType {
  /// `int32`.
  public static var dtype: DType { .int32 }
}

extension Int64: HasDType {
  /// `int64`.
  public static var dtype: DType { .int64 }
}

extension Int: HasDType {
  /// `int64`.
  public static var dtype: DType { .int64 }
}

extension Float16: HasDType {
  /// `float16`.
  public static var dtype: DType { .float16 }
}

extension Float: HasDType {
  /// `float32`.
  public static var dtype: DType { .float32 }
}

extension Double: HasDType {
  /// `float64`.
  public static var dtype: DType { .float64 }
}
