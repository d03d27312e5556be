import Foundation
import MLX
import TestSupport
import Testing

@Suite struct PromotionTests {
  @Test(arguments: [DType.bfloat16, .float16, .float32])
  func scalarsKeepFloatingPointTypes(_ type: DType) {
    let x = MLXArray.ones([2], dtype: type)
    let half = 0.5
    // Every way to write a number, also in expressions that the compiler could read as arrays.
    let results = [
      x * 2, 2 * x, x + 0.5, 0.5 - x, x / 3, 1 / x, x % 2, x - half, x / (1 - half),
      0.5 * x * (1 + x), x * (1 + tanh(x)) / 2, maximum(x, 0), minimum(x, 0.5), pow(x, 3),
      clip(x, min: 0, max: 0.5), x * Float(2), -x,
    ]
    for (index, result) in results.enumerated() {
      #expect(result.dtype == type, "expression \(index)")
    }
    var y = x
    y *= 0.5
    y += 1
    y -= 0.5
    y /= 3
    #expect(y.dtype == type)
  }

  @Test func wholeNumbersKeepIntegerTypes() throws {
    for type in [DType.int8, .uint8, .int32, .int64] {
      let x = MLXArray([1, 2, 3]).asType(type)
      for result in [x * 2, 2 - x, x + 1, x % 2, maximum(x, 2), floorDivide(x, x), x .& 1] {
        #expect(result.dtype == type)
      }
      #expect((x * 0.5).dtype == .float32)
      #expect((x / 2).dtype == .float32)
    }
    #expect((MLXArray([true, false]) * 2).dtype == .int32)
    #expect(try (MLXArray([true, false]) + 1).asArray(Int32.self) == [2, 1])
    #expect((MLXArray([true]) * 0.5).dtype == .float32)
  }

  @Test func arraysPromoteAsInMLX() {
    func sum(_ a: DType, _ b: DType) -> DType {
      (MLXArray.ones([2], dtype: a) + MLXArray.ones([2], dtype: b)).dtype
    }
    #expect(sum(.bfloat16, .float32) == .float32)
    #expect(sum(.bfloat16, .float16) == .float32)
    #expect(sum(.float16, .int32) == .float16)
    #expect(sum(.int8, .uint8) == .int16)
    #expect(sum(.bool, .int32) == .int32)
    #expect(sum(.float32, .float64) == .float64)
    #expect(sum(.int64, .bfloat16) == .bfloat16)
  }

  @Test func comparisonsGiveTruthValues() throws {
    let x = MLXArray([1, 2, 3])
    #expect(try (x .> 1).asArray(Bool.self) == [false, true, true])
    #expect(try (x .>= 2).asArray(Bool.self) == [false, true, true])
    #expect(try (x .< 1.5).asArray(Bool.self) == [true, false, false])
    #expect(try (x .<= 2).asArray(Bool.self) == [true, true, false])
    #expect(try (x .== 2.5).asArray(Bool.self) == [false, false, false])
    #expect(try (x .!= 2).asArray(Bool.self) == [true, false, true])
    #expect(try (x .== x).all().item(Bool.self))
    #expect((x .> 1).dtype == .bool)
  }
}

@Suite struct ElementwiseTests {
  /// Arguments inside the domain of every function tested with them.
  private static let points: [Double] = [0.1, 0.25, 0.5, 0.75, 0.9]

  @Test func functionsAgreeWithTheCLibrary() throws {
    let functions: [(String, (MLXArray) -> MLXArray, (Double) -> Double)] = [
      ("abs", { abs($0) }, { Swift.abs($0) }), ("acos", { acos($0) }, Foundation.acos),
      ("asin", { asin($0) }, Foundation.asin), ("atan", { atan($0) }, Foundation.atan),
      ("acosh", { acosh($0 + 1) }, { Foundation.acosh($0 + 1) }),
      ("asinh", { asinh($0) }, Foundation.asinh), ("atanh", { atanh($0) }, Foundation.atanh),
      ("ceil", { ceil($0) }, Foundation.ceil), ("cos", { $0.cos() }, Foundation.cos),
      ("cosh", { cosh($0) }, Foundation.cosh), ("erf", { erf($0) }, Foundation.erf),
      ("exp", { $0.exp() }, Foundation.exp), ("expm1", { expm1($0) }, Foundation.expm1),
      ("floor", { $0.floor() }, Foundation.floor), ("log", { $0.log() }, Foundation.log),
      ("log10", { $0.log10() }, Foundation.log10), ("log1p", { $0.log1p() }, Foundation.log1p),
      ("log2", { $0.log2() }, Foundation.log2), ("negative", { negative($0) }, { -$0 }),
      ("reciprocal", { $0.reciprocal() }, { 1 / $0 }),
      ("rsqrt", { $0.rsqrt() }, { 1 / $0.squareRoot() }),
      ("sigmoid", { sigmoid($0) }, { 1 / (1 + Foundation.exp(-$0)) }),
      ("sign", { sign($0) }, { _ in 1 }), ("sin", { $0.sin() }, Foundation.sin),
      ("sinh", { sinh($0) }, Foundation.sinh), ("sqrt", { $0.sqrt() }, { $0.squareRoot() }),
      ("square", { $0.square() }, { $0 * $0 }), ("tan", { tan($0) }, Foundation.tan),
      ("tanh", { tanh($0) }, Foundation.tanh),
      ("round", { round($0) }, { $0.rounded(.toNearestOrEven) }),
      ("erfInverse", { erf(erfInverse($0)) }, { $0 }),
    ]
    let x = MLXArray(Self.points)
    let rounded = try x.asArray(Double.self)
    for (name, ours, reference) in functions {
      let actual = try ours(x).asArray(Double.self)
      let expected = rounded.map(reference)
      // MLX approximates some of these to a few units in the last place.
      let worst = zip(actual, expected).map { Swift.abs($0 - $1) / Swift.max(1, Swift.abs($1)) }
      for error in worst { #expect(error <= 0x1p-20, "\(name)") }
    }
  }

  @Test func twoArgumentFunctionsAgreeWithSwift() throws {
    let (a, b): ([Float], [Float]) = ([-3, 2.5, 0, 7], [2, -2, 1, 0.5])
    let (x, y) = (MLXArray(a), MLXArray(b))
    func expect(
      _ array: MLXArray, _ reference: (Double, Double) -> Double,
      sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
      expectClose(
        try array.asArray(Double.self), zip(a, b).map { reference(Double($0), Double($1)) },
        .roundings(8, of: .float32), sourceLocation: sourceLocation)
    }
    try expect(x + y, +)
    try expect(x - y, -)
    try expect(x * y, *)
    try expect(x / y, /)
    try expect(x % y) { $0 - $1 * ($0 / $1).rounded(.down) }
    try expect(floorDivide(x, y)) { ($0 / $1).rounded(.down) }
    try expect(atan2(x, y), Foundation.atan2)
    try expect(maximum(x, y), Swift.max)
    try expect(minimum(x, y), Swift.min)
    try expect(logAddExp(x, y)) { Foundation.log(Foundation.exp($0) + Foundation.exp($1)) }
    try expect(pow(abs(x), y)) { Foundation.pow(Swift.abs($0), $1) }
  }

  @Test func bitsAndTruthValues() throws {
    let (a, b) = (MLXArray([12, 5]), MLXArray([10, 3]))
    #expect(try (a .& b).asArray(Int32.self) == [8, 1])
    #expect(try (a .| b).asArray(Int32.self) == [14, 7])
    #expect(try bitwiseXOr(a, b).asArray(Int32.self) == [6, 6])
    #expect(try leftShift(a, MLXArray(2)).asArray(Int32.self) == [48, 20])
    #expect(try rightShift(a, MLXArray(1)).asArray(Int32.self) == [6, 2])
    let (p, q) = (MLXArray([true, true, false]), MLXArray([true, false, false]))
    #expect(try logicalAnd(p, q).asArray(Bool.self) == [true, false, false])
    #expect(try logicalOr(p, q).asArray(Bool.self) == [true, true, false])
    #expect(try (.!p).asArray(Bool.self) == [false, false, true])
  }

  @Test func notNumbersAreFound() throws {
    let x = MLXArray([1, .nan, .infinity, -.infinity] as [Float])
    #expect(try isNaN(x).asArray(Bool.self) == [false, true, false, false])
    #expect(try isInf(x).asArray(Bool.self) == [false, false, true, true])
    #expect(try isFinite(x).asArray(Bool.self) == [true, false, false, false])
    #expect(try !arrayEqual(x, x).item(Bool.self))
    #expect(try arrayEqual(x, x, equalNAN: true).item(Bool.self))
  }

  @Test func shapesBroadcast() throws {
    let sum = MLXArray([1, 2], [2, 1]) + MLXArray([10, 20, 30])
    #expect(sum.shape == [2, 3])
    #expect(try sum.asArray(Int32.self) == [11, 21, 31, 12, 22, 32])
    #expect((MLXArray.ones([2]) + MLXArray.ones([3])).failure != nil)
  }
}
