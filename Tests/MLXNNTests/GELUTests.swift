import MLX
import TestSupport
import Testing

@testable import MLXNN

@Suite struct GELUTests {
  private let x = MLXArray((-1200...1200).map { Float($0) / 100 })

  @Test func theRationalFunctionAgreesWithTheErrorFunction() throws {
    let exact = geluByErrorFunction(MLXArray(float64: try x.asArray(Double.self)))
    try Device.withDefaultDevice(.cpu) {
      try expectClose(gelu(x), exact, .absolute(2e-6))
      let far = MLXArray([-1e30, 1e30, -.infinity, .infinity, .nan] as [Float])
      let values = try gelu(far).asArray(Float.self)
      #expect(abs(values[0]) <= 1e23 && values[1] == 1e30 && values[3] == .infinity)
      #expect(values[4].isNaN)
    }
  }

  @Test func itsGradientIsThatOfTheErrorFunction() throws {
    func gradient(_ function: @escaping (MLXArray) -> MLXArray) throws -> MLXArray {
      try valueAndGrad([x], argumentNumbers: [0]) { [sum(function($0[0]))] }.gradients[0]
    }
    try Device.withDefaultDevice(.cpu) {
      try expectClose(gradient(gelu), gradient(geluByErrorFunction), .absolute(4e-6))
    }
    try expectGradient(
      of: { mean(gelu($0[0])) }, at: [MLXRandom.normal([7], key: MLXRandom.key(0))])
  }

  @Test(arguments: [DType.float16, .bfloat16])
  func lowPrecisionIsNoWorseThanTheErrorFunctions(_ type: DType) throws {
    let low = x.asType(type)
    let reference = geluByErrorFunction(low.asType(.float32))
    try Device.withDefaultDevice(.cpu) {
      #expect(gelu(low).dtype == type)
      try expectTwoTimes(gelu(low), plain: geluByErrorFunction(low), reference: reference)
    }
  }

  @Test func itCompiles() throws {
    let compiled = compile { [gelu($0[0])] }
    try expectClose(compiled([x])[0], gelu(x), .roundings(4, of: .float32))
  }
}
