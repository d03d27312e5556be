import MLX
import TestSupport
import Testing

@Suite struct ArrayTests {
  @Test func swiftTypesKeepTheirBits() throws {
    func roundTrips<T: HasDType & Equatable>(_ values: [T], as type: DType) throws {
      let array = MLXArray(values)
      #expect(array.dtype == type && array.shape == [values.count])
      #expect(try array.asArray(T.self) == values)
    }
    try roundTrips([true, false], as: .bool)
    try roundTrips([0, .max] as [UInt8], as: .uint8)
    try roundTrips([0, .max] as [UInt16], as: .uint16)
    try roundTrips([0, .max] as [UInt32], as: .uint32)
    try roundTrips([0, .max] as [UInt64], as: .uint64)
    try roundTrips([.min, .max] as [Int8], as: .int8)
    try roundTrips([.min, .max] as [Int16], as: .int16)
    try roundTrips([.min, .max] as [Int32], as: .int32)
    try roundTrips([.min, .max] as [Int64], as: .int64)
    try roundTrips([-1.5, 65504, 0x1p-24] as [Float16], as: .float16)
    try roundTrips([-1.5, .infinity, .leastNonzeroMagnitude] as [Float], as: .float32)
    // MLX works in 32 bits.
    try roundTrips([-7, Int(Int32.max)], as: .int32)
    try roundTrips([-1.5, 0x1p100] as [Double], as: .float32)
  }

  @Test func integersThatDoNotFitFail() {
    #expect(MLXArray([1, 1 << 40]).failure?.description.contains("\(1 << 40)") == true)
    #expect(MLXArray(1 << 40).failure != nil)
    #expect(MLXArray(.infinity, dtype: .int32).failure != nil)
    #expect(MLXArray(.nan, dtype: .uint8).failure != nil)
    #expect(clip(MLXArray([1]), min: 0, max: .infinity).failure != nil)
  }

  @Test func emptyArraysKeepTheirType() throws {
    #expect(MLXArray([] as [Float]).dtype == .float32)
    #expect(MLXArray([] as [Float16]).dtype == .float16)
    #expect(MLXArray([] as [Bool]).dtype == .bool)
    #expect(MLXArray([] as [Int]).dtype == .int32)
    let empty = MLXArray([] as [Float], [0, 3])
    #expect(empty.shape == [0, 3] && empty.size == 0 && empty.nbytes == 0)
    #expect(try empty.asArray(Float.self).isEmpty)
    #expect(try empty.asBytes().isEmpty)
    #expect(try empty.sum().item(Float.self) == 0)
    #expect(try matmul(MLXArray.zeros([2, 0]), empty).asArray(Float.self) == [0, 0, 0, 0, 0, 0])
    #expect(concatenated([empty, MLXArray.ones([2, 3])]).shape == [2, 3])
    #expect(empty[0..., 1].shape == [0])
    #expect(empty.max().failure != nil)
  }

  @Test func lowPrecisionIsReadInWiderTypes() throws {
    let values: [Float] = [1, -0.375, 0x1p100, .infinity]
    let bfloat = MLXArray(values).asType(.bfloat16)
    #expect(bfloat.nbytes == 8)
    #expect(try bfloat.asArray(Float.self) == values)
    #expect(try bfloat.asArray(Double.self) == values.map(Double.init))
    // The upper halves of the float32 bits, little end first.
    #expect(try bfloat.asBytes() == [0x80, 0x3f, 0xc0, 0xbe, 0x80, 0x71, 0x80, 0x7f])
    let same = MLXArray(bytes: try bfloat.asBytes(), [4], dtype: .bfloat16)
    #expect(try arrayEqual(same, bfloat).item(Bool.self))
    #expect(
      try MLXArray([1 + 0x1p-8, 1 + 0x1p-7] as [Float]).asType(.bfloat16).asArray(Float.self)
        == [1, 1 + 0x1p-7])
    #expect(try MLXArray([0.1 as Float16]).asArray(Float.self) == [Float(0.1 as Float16)])
    #expect(try MLXArray([0.1]).asArray(Float16.self) == [0.1])
  }

  @Test func largeIntegersAreReadExactly() throws {
    let wide = MLXArray([(1 << 24) + 1, -(1 << 50)] as [Int64])
    #expect(try wide.asArray(Int.self) == [(1 << 24) + 1, -(1 << 50)])
    #expect(try wide.asArray(Double.self) == [0x1p24 + 1, -0x1p50])
    #expect(try MLXArray([.max] as [UInt64]).asArray(Double.self) == [0x1p64])
    #expect(try MLXArray(float64: [0.1, 0x1p-200]).asArray(Double.self) == [0.1, 0x1p-200])
  }

  @Test func wrongSizesFail() throws {
    #expect(MLXArray([1, 2, 3], [2, 2]).failure != nil)
    #expect(MLXArray(bytes: [1, 2, 3], [1], dtype: .float32).failure != nil)
    #expect(MLXArray(bytes: [], [-1], dtype: .float32).failure != nil)
    #expect(MLXArray(bytes: [1], [Int.max, Int.max], dtype: .float32).failure != nil)
    #expect(throws: MLXError.self) { try MLXArray([1, 2]).item(Int32.self) }
    #expect(try MLXArray([7], [1, 1]).item(Int32.self) == 7)
    #expect(MLXArray.zeros([-1]).failure != nil)
  }

  @Test func arraysLargerThanTheMemoryThrowAtTheEvaluation() throws {
    let (many, more) = (1 << 30, 1 << 20)
    let ones = MLXArray.ones([many, 1])
    let large = [
      MLXRandom.normal([many, more]), MLXArray.ones([many, more]) + 1,
      matmul(ones, MLXArray.ones([1, more])).sum(), MLXLinalg.svd(ones).1,
    ]
    for array in large {
      let error = #expect(throws: MLXError.self) { try array.eval() }
      #expect(error?.description.contains("memory") == true)
    }
    // Their shapes cost nothing.
    #expect(large[0].shape == [many, more])
    #expect(throws: MLXError.self) { try large[1].asArray(Float.self) }
    #expect(throws: MLXError.self) { try asyncEval(large[0]) }
    #expect("\(large[1])".contains("memory"))
    #expect(Memory.total > Memory.active)
  }

  @Test func factsOfAnArray() {
    let a = MLXArray.zeros([2, 3, 4], dtype: .float16)
    #expect(a.ndim == 3 && a.size == 24 && a.nbytes == 48 && a.dtype == .float16)
    #expect(a.dim(0) == 2 && a.dim(-1) == 4 && a.dim(3) == 0 && a.dim(-4) == 0)
    #expect(MLXArray(1).shape.isEmpty && MLXArray(1).size == 1)
    #expect("\(MLXArray([1, 2]))".contains("[1, 2]"))
    for type in DType.allCases {
      let array = MLXArray.ones([3], dtype: type)
      #expect(array.dtype == type && array.nbytes == 3 * type.size)
      #expect(type.isFloatingPoint == (type.unitRoundoff > 0))
    }
  }

  @Test func factoriesGiveTheirNumbers() throws {
    #expect(try MLXArray.eye(2, m: 3, k: 1).asArray(Float.self) == [0, 1, 0, 0, 0, 1])
    #expect(try MLXArray.tri(2, m: 3).asArray(Float.self) == [1, 0, 0, 1, 1, 0])
    #expect(
      try MLXArray.full([2, 2], values: MLXArray([1, 2])).asArray(Int32.self) == [1, 2, 1, 2])
    #expect(try arange(1, 2, step: 0.25).asArray(Float.self) == [1, 1.25, 1.5, 1.75])
    #expect(try arange(3).asArray(Int32.self) == [0, 1, 2])
    #expect(try MLXArray.linspace(0, 1, count: 3).asArray(Float.self) == [0, 0.5, 1])
    #expect(MLXArray.ones(like: MLXArray.zeros([2], dtype: .int8)).dtype == .int8)
    #expect(arange(0, .infinity).failure != nil && arange(0, 1, step: 0).failure != nil)
  }

  @Test func updatesAreSeenUnderEveryName() throws {
    let a = MLXArray([1, 2])
    let b = a
    let before = a + 0
    a.update(MLXArray([3.5]))
    #expect(b.shape == [1] && b.dtype == .float32)
    #expect(try before.asArray(Int32.self) == [1, 2])
    a.update(a)
    #expect(try a.asArray(Float.self) == [3.5])
  }

  @Test func identityFollowsUpdates() {
    let (a, b) = (MLXArray([1, 2]), MLXArray([1, 2]))
    #expect(a.isIdentical(to: a) && !a.isIdentical(to: b))
    b.update(a)
    #expect(b.isIdentical(to: a) && !(a + 0).isIdentical(to: a))
    let failed = MLXArray(failure: MLXError("none"))
    #expect(failed.isIdentical(to: failed) && !failed.isIdentical(to: a))
  }
}
