import CMLX

#if canImport(Glibc)
  import Glibc
#endif

/// An n-dimensional array whose value MLX computes when it is asked for.
///
/// Operations build a graph; ``eval(_:)-(MLXArray...)``, ``item(_:)`` and ``asArray(_:)`` compute
/// it. An operation never throws and never ends the process: one that cannot be done (wrong
/// shapes, say) gives a *failed* array, every operation on a failed array gives a failed array
/// with the same error, and computing it throws that error. ``withError(_:)`` throws earlier.
///
/// An array belongs to the thread that made it, and is not `Sendable`.
public final class MLXArray {
  enum State {
    case array(CMLXArray)
    case failed(MLXError)
  }

  var state: State

  init(_ state: State) {
    self.state = state
  }

  /// Takes over a handle.
  init(owning handle: CMLXArray) {
    state = .array(handle)
  }

  /// An array that carries an error instead of a value.
  public init(failure: MLXError) {
    ErrorScope.record(failure)
    state = .failed(failure)
  }

  deinit {
    if case .array(let handle) = state { cmlx_array_free(handle) }
  }

  /// The error of a failed array, `nil` for one that has, or will have, a value.
  public var failure: MLXError? {
    if case .failed(let error) = state { error } else { nil }
  }

  /// The handle, or the error of a failed array.
  func handle() throws(MLXError) -> CMLXArray {
    switch state {
    case .array(let handle): return handle
    case .failed(let error): throw error
    }
  }

  private var handleIfAny: CMLXArray? {
    if case .array(let handle) = state { handle } else { nil }
  }

  // MARK: - Facts

  /// The sizes of the axes; empty for a scalar and for a failed array.
  public var shape: [Int] {
    guard let handle = handleIfAny else { return [] }
    return (0..<cmlx_array_rank(handle)).map { Int(cmlx_array_dim(handle, $0)) }
  }

  /// The number of axes; 0 for a scalar and for a failed array.
  public var ndim: Int { handleIfAny.map { cmlx_array_rank($0) } ?? 0 }

  /// The number of elements; 0 for a failed array.
  public var size: Int { handleIfAny.map { cmlx_array_size($0) } ?? 0 }

  /// The bytes of the elements; 0 for a failed array.
  public var nbytes: Int { handleIfAny.map { cmlx_array_byte_count($0) } ?? 0 }

  /// The type of the elements; `float32` for a failed array.
  public var dtype: DType { handleIfAny.map { DType(cmlx_array_type($0)) } ?? .float32 }

  /// The size of an axis, counted from the end where negative; 0 if there is no such axis.
  public func dim(_ axis: Int) -> Int {
    guard let handle = handleIfAny else { return 0 }
    let rank = cmlx_array_rank(handle)
    let index = axis < 0 ? axis + rank : axis
    return index >= 0 && index < rank ? Int(cmlx_array_dim(handle, index)) : 0
  }

  /// Whether both are one array of the graph: the same numbers now and in all that is built on them.
  ///
  /// Arrays of equal numbers that were made apart are not; ``update(_:)`` makes them so.
  public func isIdentical(to other: MLXArray) -> Bool {
    guard let a = handleIfAny, let b = other.handleIfAny else { return self === other }
    return cmlx_array_is_same(a, b)
  }

  // MARK: - From Swift values

  /// An array with a copy of the given elements in row-major order.
  ///
  /// It fails if the shape does not hold as many elements; without a shape it is a vector. `Int`
  /// becomes `int32`, which has to hold it, and `Double` becomes `float32`, as MLX works in these.
  public convenience init<T: HasDType>(_ elements: [T], _ shape: [Int]? = nil) {
    // The types are compared because an empty array of any type can be cast to any other.
    if T.self == Int.self, let integers = elements as? [Int] {
      if let wide = integers.first(where: { Int32(exactly: $0) == nil }) {
        self.init(
          failure: MLXError(
            "[array] expected integers that int32 holds, got \(wide); give them as Int64."))
      } else {
        self.init(copying: integers.map { Int32(clamping: $0) }, shape)
      }
    } else if T.self == Double.self, let numbers = elements as? [Double] {
      self.init(copying: numbers.map { Float($0) }, shape)
    } else {
      self.init(copying: elements, shape)
    }
  }

  /// An array with a copy of the given elements, in exactly their type.
  private convenience init<T: HasDType>(copying elements: [T], _ shape: [Int]?) {
    let bytes = elements.withUnsafeBytes { Array($0) }
    self.init(bytes: bytes, shape ?? [elements.count], dtype: T.dtype)
  }

  /// A `float64` array, for references in higher precision (on the CPU only).
  public convenience init(float64 elements: [Double], _ shape: [Int]? = nil) {
    self.init(copying: elements, shape)
  }

  /// An array from the bytes of its elements in row-major order; fails if their number is wrong.
  public convenience init(bytes: [UInt8], _ shape: [Int], dtype: DType) {
    let dimensions = shape.map { Int32(clamping: $0) }
    var count = dtype.size
    var overflow = shape.contains { $0 < 0 || $0 > Int(Int32.max) }
    for dimension in shape {
      let (product, overflowed) = count.multipliedReportingOverflow(by: dimension)
      (count, overflow) = (product, overflow || overflowed)
    }
    guard !overflow, count == bytes.count else {
      self.init(
        failure: MLXError(
          "[array] expected the bytes of \(dtype.rawValue) elements of shape \(shape), got "
            + "\(bytes.count) bytes; give as many elements as the shape holds."))
      return
    }
    // An array without elements still needs an address that it never reads.
    let source = bytes.isEmpty ? [0] : bytes
    self.init(
      State.calling { out in
        source.withUnsafeBytes {
          cmlx_array_from_bytes(&out, $0.baseAddress, dimensions, dimensions.count, dtype.c)
        }
      })
  }

  /// A scalar of a type that Swift and MLX share.
  public convenience init<T: HasDType>(_ value: T) {
    self.init([value], [])
  }

  /// A scalar of a given type; for integers the fraction is dropped, and a number that no `Int64`
  /// holds fails.
  public convenience init(_ value: Double, dtype: DType) {
    // Not by way of float64, which GPUs do not have.
    let exact: MLXArray =
      switch dtype {
      case .float64: MLXArray(float64: [value], [])
      case .float16, .bfloat16, .float32, .complex64: MLXArray(copying: [Float(value)], [])
      default:
        if let integer = Int64(exactly: value.rounded(.towardZero)) {
          MLXArray(copying: [integer], [])
        } else {
          MLXArray(
            failure: MLXError(
              "[array] expected a number that \(dtype.rawValue) holds, got \(value)."))
        }
      }
    self.init(State.running([exact]) { cmlx_astype(&$0, $1[0], dtype.c) })
  }

  // MARK: - To Swift values

  /// The value of an array of one element.
  ///
  /// Throws the error of a failed array, and an error if there is not exactly one element.
  public func item<T: HasDType>(_ type: T.Type = T.self) throws -> T {
    guard failure != nil || size == 1 else {
      throw MLXError("[item] expected an array of one element, got shape \(shape).")
    }
    return try asArray(type)[0]
  }

  /// A copy of the elements in row-major order, converted to the given type.
  ///
  /// Throws the error of a failed array or of the evaluation.
  public func asArray<T: HasDType>(_ type: T.Type = T.self) throws -> [T] {
    if T.self == Double.self, dtype != .float64, let doubles = try doubles() as? [T] {
      return doubles
    }
    let converted = dtype == T.dtype ? self : asType(T.dtype)
    // Before there is room for the elements: not every array fits into memory.
    try converted.eval()
    let source = try converted.handle()
    var message: UnsafeMutablePointer<CChar>?
    let count = converted.size
    let elements = [T](unsafeUninitializedCapacity: count) { buffer, initialized in
      message = cmlx_array_read(source, buffer.baseAddress, count * MemoryLayout<T>.stride)
      initialized = message == nil ? count : 0
    }
    try check(message)
    return elements
  }

  /// The elements by way of a type that GPUs have too, exactly where `Double` is exact.
  private func doubles() throws -> [Double] {
    switch dtype {
    case .uint64: try asArray(UInt64.self).map { Double($0) }
    case .bool, .uint8, .uint16, .uint32, .int8, .int16, .int32, .int64:
      try asArray(Int64.self).map { Double($0) }
    case .float16, .bfloat16, .float32, .float64, .complex64:
      try asArray(Float.self).map { Double($0) }
    }
  }

  /// A copy of the bytes of the elements in row-major order.
  ///
  /// Throws the error of a failed array or of the evaluation.
  public func asBytes() throws -> [UInt8] {
    try eval()
    let source = try handle()
    var message: UnsafeMutablePointer<CChar>?
    let count = nbytes
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      message = cmlx_array_read(source, buffer.baseAddress, count)
      initialized = message == nil ? count : 0
    }
    try check(message)
    return bytes
  }

  /// Computes this array.
  public func eval() throws {
    try MLX.eval([self])
  }
}

extension MLXArray: CustomStringConvertible {
  /// The elements, or the error of a failed array.
  public var description: String {
    switch state {
    case .failed(let error): return "failed array: \(error)"
    case .array(let handle):
      var text: UnsafeMutablePointer<CChar>?
      if let error = MLXError(consuming: cmlx_array_describe(&text, handle)) {
        return "failed array: \(error)"
      }
      return MLXError(consuming: text)?.description ?? ""
    }
  }
}

// MARK: - Calling the C interface

extension MLXArray.State {
  /// The result of a C call that makes one array.
  static func calling(
    _ body: (inout CMLXArray?) -> UnsafeMutablePointer<CChar>?
  ) -> MLXArray.State {
    var out: CMLXArray?
    if let error = MLXError(consuming: body(&out)) {
      ErrorScope.record(error)
      return .failed(error)
    }
    guard let out else {
      return .failed(MLXError("[MLX] the operation gave no array."))
    }
    return .array(out)
  }

  /// The result of a C call on arrays, or the first error among them.
  static func running(
    _ inputs: [MLXArray],
    _ body: (inout CMLXArray?, [CMLXArray?]) -> UnsafeMutablePointer<CChar>?
  ) -> MLXArray.State {
    var handles: [CMLXArray?] = []
    for input in inputs {
      switch input.state {
      case .array(let handle): handles.append(handle)
      case .failed(let error): return .failed(error)
      }
    }
    // The inputs own the handles: they have to outlive the call.
    return withExtendedLifetime(inputs) { calling { body(&$0, handles) } }
  }
}

extension MLXArray {
  /// The array that a C call on other arrays makes.
  static func running(
    _ inputs: [MLXArray],
    _ body: (inout CMLXArray?, [CMLXArray?]) -> UnsafeMutablePointer<CChar>?
  ) -> MLXArray {
    MLXArray(State.running(inputs, body))
  }

  /// The array of a shape and type that a C call on other arrays makes.
  static func running(
    _ inputs: [MLXArray], shape: [Int], dtype: DType,
    _ body: (inout CMLXArray?, [CMLXArray?], CMLXArrayDescription) -> UnsafeMutablePointer<CChar>?
  ) -> MLXArray {
    let sizes = shape.compactMap { Int32(exactly: $0) }
    guard sizes.count == shape.count else {
      return MLXArray(
        failure: MLXError("[MLX] expected sizes that int32 holds, got a result \(shape)."))
    }
    return sizes.withUnsafeBufferPointer { sizes in
      let result = CMLXArrayDescription(
        shape: sizes.baseAddress, rank: sizes.count, type: dtype.c)
      return .running(inputs) { body(&$0, $1, result) }
    }
  }

  /// The arrays that a C call on other arrays makes; `count` failed ones if it does not succeed.
  static func running(
    _ inputs: [MLXArray], count: Int,
    _ body: (inout CMLXArrays, [CMLXArray?]) -> UnsafeMutablePointer<CChar>?
  ) -> [MLXArray] {
    do throws(MLXError) {
      var handles: [CMLXArray?] = []
      for input in inputs { handles.append(try input.handle()) }
      var out = CMLXArrays()
      let message = withExtendedLifetime(inputs) { body(&out, handles) }
      try check(message)
      return take(out)
    } catch {
      return (0..<count).map { _ in MLXArray(failure: error) }
    }
  }

  /// Takes over a list of handles.
  static func take(_ list: CMLXArrays) -> [MLXArray] {
    let arrays = (0..<list.count).compactMap { list.items[$0].map { MLXArray(owning: $0) } }
    free(list.items)
    return arrays
  }
}
