import MLX
import Operators
import OrderedCollections
import TestSupport
import Testing

@Suite struct ProductTests {
  @Test(arguments: Specimen.zoo)
  func productEqualsDenseProduct(_ specimen: Specimen) throws {
    let operation = try specimen.make()
    let parameters = randomParameters(of: operation, seed: 1)
    let weight = try #require(operation.dense(parameters))
    #expect(weight.shape == [specimen.outputs, specimen.inputs])
    for leading in [[7], [1], [0], [], [2, 3], [2, 0, 3], [2, 1, 3]] {
      let x = MLXRandom.normal(leading + [specimen.inputs], key: MLXRandom.key(2))
      let y = operation.apply(x, parameters)
      #expect(y.shape == leading + [specimen.outputs])
      try expectClose(y, matmul(x, weight.transposed()), .roundings(64, of: .float32))
    }
  }

  @Test(arguments: Specimen.zoo)
  func denseEqualsDenseByProduct(_ specimen: Specimen) throws {
    let operation = try specimen.make()
    let parameters = randomParameters(of: operation, seed: 3)
    try expectClose(
      try #require(operation.dense(parameters)), operation.denseByProduct(parameters),
      .roundings(64, of: .float32))
  }

  @Test(arguments: Specimen.zoo)
  func gradientsAgreeWithDifferences(_ specimen: Specimen) throws {
    let operation = try specimen.make()
    let parameters = randomParameters(of: operation, seed: 4)
    let names = trained(parameters)
    let x = MLXRandom.normal([3, specimen.inputs], key: MLXRandom.key(5))
    let probe = MLXRandom.normal([3, specimen.outputs], key: MLXRandom.key(6))
    let function = { (arguments: [MLXArray]) -> MLXArray in
      var moved = parameters
      for (name, array) in zip(names, arguments.dropFirst()) { moved[name] = array }
      return mean(probe * tanh(operation.apply(arguments[0], moved)))
    }
    try expectGradient(of: function, at: [x] + names.compactMap { parameters[$0] })
  }

  @Test(arguments: Specimen.zoo, [DType.bfloat16, .float16])
  func lowPrecisionKeepsTheTwoTimesRule(_ specimen: Specimen, _ type: DType) throws {
    let operation = try specimen.make()
    let parameters = randomParameters(of: operation, seed: 7)
      .mapValues { $0.dtype.isFloatingPoint ? $0.asType(type) : $0 }
    let x = MLXRandom.normal([5, specimen.inputs], key: MLXRandom.key(8)).asType(type)
    let y = operation.apply(x, parameters)
    #expect(y.dtype == type)
    let exact = parameters.mapValues { $0.dtype == type ? $0.asType(.float32) : $0 }
    let weight = try #require(operation.dense(exact))
    // Plain: the inner results of a structure, and its weights where they are normalised, are
    // rounded too, so the dense product gets a weight that was rounded as often as there are stages.
    let rounded = weight.asType(type)
    try expectTwoTimes(
      y, plain: matmul(x, rounded.transposed()),
      reference: matmul(x.asType(.float32), weight.transposed()))
  }

  @Test(arguments: Specimen.zoo)
  func parametersHaveTheDocumentedShapes(_ specimen: Specimen) throws {
    let operation = try specimen.make()
    let parameters = operation.initialize(key: MLXRandom.key(9))
    #expect(parameters.mapValues(\.shape) == operation.shapes)
    #expect(Array(operation.learningRateMultipliers.keys) == trained(parameters))
    let weight = MLXRandom.normal([specimen.outputs, specimen.inputs], key: MLXRandom.key(1))
    let fitted = try operation.fit(FitTarget(weight: weight))
    #expect(fitted.mapValues(\.shape) == operation.shapes)
    #expect(fitted.mapValues(\.dtype) == parameters.mapValues(\.dtype))
  }

  @Test(arguments: Specimen.zoo)
  func costEqualsTheNumbersStored(_ specimen: Specimen) throws {
    let operation = try specimen.make()
    let parameters = operation.initialize(key: MLXRandom.key(9))
    let stored = trained(parameters).reduce(0) { $0 + (parameters[$1]?.size ?? 0) }
    #expect(operation.cost.parameters == stored)
  }

  @Test func wrongInputsAndParametersFailWithBothShapes() throws {
    let operation = try Specimen("btt:rank=2", 13, 22).make()
    var parameters = operation.initialize(key: MLXRandom.key(1))
    let wide = operation.apply(.zeros([2, 14]), parameters)
    #expect(try #require(wide.failure).description.contains("[..., 13], got [2, 14]"))
    parameters["core0"] = .zeros([3, 3])
    let reshaped = operation.apply(.zeros([2, 13]), parameters)
    #expect(try #require(reshaped.failure).description.contains("core0"))
    parameters.removeValue(forKey: "core0")
    #expect(operation.apply(.zeros([2, 13]), parameters).failure != nil)
    #expect(operation.dense(parameters)?.failure != nil)
  }
}
