import Kernels
import MLX
import MLXNN
import Operators
import OrderedCollections
import TestSupport
import Testing

@testable import Layers

@Suite struct StructuredLinearTests {
  @Test(arguments: Specimen.zoo)
  func outputIsTheProductPlusTheBias(_ specimen: Specimen) throws {
    let layer = try specimen.layer()
    let x = specimen.input()
    let bias = try #require(layer.bias)
    let y = layer(x)
    #expect(y.shape == [2, 5, specimen.outputs])
    // Which path a layer takes depends on the processor. The planes of Strassen-Tile are larger than what they are
    // decoded to, and so are their roundings.
    let isTiled = layer.structure is StrassenTile
    try expectClose(
      y, layer.structure.apply(x, layer.parametersByName) + bias,
      .roundings(isTiled ? 32 : 8, of: .float32))
    if !isTiled {
      let weight = layer.structure.denseByProduct(layer.parametersByName)
      try expectClose(y, matmul(x, weight.T) + bias, .roundings(64, of: .float32))
    }
    let without = try StructuredLinear(layer.structure, parameters: layer.parametersByName)
    #expect(without.bias == nil)
    try expectClose(without(x) + bias, y, .roundings(8, of: .float32))
  }

  @Test(arguments: Specimen.zoo)
  func parametersAreNamedByTheStructure(_ specimen: Specimen) throws {
    let layer = try specimen.layer()
    let names = layer.structure.shapes.keys.map { "\(specimen.name).\($0)" }
    #expect(Set(layer.parameters().keys) == Set(names + ["bias"]))
    for (name, shape) in layer.structure.shapes {
      #expect(layer.parameters()["\(specimen.name).\(name)"]?.shape == shape)
    }
    #expect(Array(layer.parametersByName.keys) == Array(layer.structure.shapes.keys))
  }

  @Test(arguments: Specimen.zoo)
  func indicesAreNotTrainable(_ specimen: Specimen) throws {
    let layer = try specimen.layer()
    let paths = layer.trainableParameters().keys
    #expect(paths.contains("bias") && paths.count >= 2)
    #expect(paths.contains("two_four.indices") == false)
    #expect(layer.trainableParameters().values.allSatisfy { $0.dtype.isFloatingPoint })
    let integers = layer.parameters().filter { !$0.value.dtype.isFloatingPoint }
    #expect(integers.keys == (specimen.spec == "2:4" ? ["two_four.indices"] : []))
  }

  @Test(arguments: Specimen.zoo)
  func gradientsReachEveryTrainableParameter(_ specimen: Specimen) throws {
    let layer = try specimen.layer()
    let x = specimen.input()
    let weights = MLXRandom.normal([2, 5, specimen.outputs], key: MLXRandom.key(2))
    let loss = { (layer: StructuredLinear, x: MLXArray, weights: MLXArray) in
      mean(layer(x) * weights)
    }
    let (_, gradients) = valueAndGrad(model: layer, loss)(layer, x, weights)
    let trainable = layer.trainableParameters()
    #expect(gradients.keys == trainable.keys)
    for (path, array) in trainable {
      let gradient = try #require(gradients[path])
      let direction = MLXRandom.normal(array.shape, key: MLXRandom.key(3))
      let start = try array.asArray(Float.self)
      func value(_ amount: Double) throws -> Double {
        let moved = MLXArray(start, array.shape) + direction * amount
        try layer.update(parameters: [(key: path, value: moved)], verify: .noUnusedKeys)
        return Double(try loss(layer, x, weights).item(Float.self))
      }
      let measured = (try value(1e-2) - value(-1e-2)) / 2e-2
      try layer.update(
        parameters: [(key: path, value: MLXArray(start, array.shape))], verify: .noUnusedKeys)
      let claimed = Double(try sum(gradient * direction).item(Float.self))
      #expect(
        abs(measured - claimed) <= 2e-2 * max(abs(measured), abs(claimed), 1e-2),
        "\(path): \(claimed), by differences \(measured)")
      #expect(try max(abs(gradient)).item(Float.self) > 0, "\(path)")
    }
  }

  // MARK: - Dense form

  @Test(arguments: Specimen.zoo)
  func theDensifiedLayerIsTheSameMap(_ specimen: Specimen) throws {
    let layer = try specimen.layer()
    guard let dense = layer.densified() else {
      #expect(layer.structure is StrassenTile)
      return
    }
    #expect(dense.weight.shape == [specimen.outputs, specimen.inputs])
    let x = specimen.input()
    try expectClose(dense(x), layer(x), .roundings(128, of: .float32))
  }

  @Test func aFittedExactTileLayerIsDense() throws {
    let structure = try OperatorSpec(parsing: "stl:rank=49").makeOperator(inputs: 10, outputs: 7)
    let weight = MLXRandom.normal([7, 10], key: MLXRandom.key(0))
    let layer = try StructuredLinear(
      structure, parameters: structure.fit(FitTarget(weight: weight)))
    let dense = try #require(layer.densified())
    #expect(dense.bias == nil)
    try expectClose(dense.weight, weight, .roundings(256, of: .float32))
    let lossy = try OperatorSpec(parsing: "stl:rank=24").makeOperator(inputs: 10, outputs: 7)
    let mixing = try StructuredLinear(lossy, parameters: lossy.fit(FitTarget(weight: weight)))
    #expect(mixing.densified() == nil)
  }

  // MARK: - Wrong parameters

  @Test(arguments: Specimen.zoo)
  func wrongParametersAreRefusedWithBothShapes(_ specimen: Specimen) throws {
    let layer = try specimen.layer()
    let structure = layer.structure
    func refusal(_ parameters: Parameters, bias: MLXArray? = nil) throws -> String {
      try #require(throws: LayerError.self) {
        try StructuredLinear(structure, parameters: parameters, bias: bias)
      }.description
    }
    for (name, shape) in structure.shapes {
      var parameters = layer.parametersByName
      let wrong = shape + [2]
      parameters[name] = .zeros(wrong)
      let sentence = try refusal(parameters)
      #expect(
        sentence.contains("\(shape)") && sentence.contains("\(wrong)") && sentence.contains(name))
      parameters[name] = nil
      #expect(try refusal(parameters).contains("\(name) \(shape), got none"))
      parameters[name] = MLXArray(failure: MLXError("a cause"))
      #expect(throws: MLXError("a cause")) {
        try StructuredLinear(structure, parameters: parameters)
      }
    }
    let sentence = try refusal(layer.parametersByName, bias: .zeros([specimen.outputs + 1]))
    #expect(sentence.contains("[\(specimen.outputs)], got [\(specimen.outputs + 1)]"))
  }

  @Test func anInputOfTheWrongWidthFails() throws {
    for specimen in Specimen.zoo {
      let y = try specimen.layer()(.zeros([3, specimen.inputs + 1]))
      let failure = try #require(y.failure)
      #expect("\(failure)".contains("\(specimen.inputs + 1)"))
    }
  }

  @Test func aSpecThatDoesNotFitIsRefused() {
    #expect(throws: SpecError.self) {
      try StructuredLinear(
        .lowRank(rank: 9), inputs: 8, outputs: 12, key: MLXRandom.key(0))
    }
  }

  /// Encoders are parameters: frozen, only the weight is trained; released, all three are.
  @Test func encodersAreFrozenOrTrainedByTheirKeys() throws {
    let operation = try OperatorSpec.strassenTile(rank: 24).makeOperator(inputs: 8, outputs: 8)
    let layer = try StructuredLinear(
      operation, parameters: operation.initialize(key: MLXRandom.key(0)))
    try layer.freeze(keys: ["stl.encoder", "stl.decoder"])
    #expect(Array(layer.trainableParameters().keys) == ["stl.weight"])
    try layer.unfreeze(keys: ["stl.encoder", "stl.decoder"])
    #expect(
      Set(layer.trainableParameters().keys) == ["stl.weight", "stl.encoder", "stl.decoder"])
    try layer.freeze()
    try layer.unfreeze(keys: ["stl.encoder"])
    #expect(Array(layer.trainableParameters().keys) == ["stl.encoder"])
    try layer.unfreeze(keys: ["stl"])
    #expect(layer.trainableParameters().count == 3)
    #expect(throws: ModuleError.self) { try layer.freeze(keys: ["encoder"]) }
  }

  /// A prepared layer gives the same product, until its parameters are others.
  @Test(arguments: Specimen.zoo)
  func preparedLayersGiveTheSameProduct(_ specimen: Specimen) throws {
    let layer = try specimen.layer()
    let x = specimen.input()
    let expected = layer(x)
    let way = try layer.prepare(rows: 10, dtype: .float32)
    if Device.default == .cpu { #expect((way != nil) == (layer.structure is TwoFour)) }
    let tolerance = Tolerance.relative(Device.default == .gpu ? 1e-2 : 1e-5)
    try expectClose(layer(x), expected, tolerance)
    try expectClose(layer(x, activation: .silu), KernelActivation.silu(expected), tolerance)
    let doubled = layer.parametersByName.mapValues { $0.dtype == .uint8 ? $0 : $0 * 2 }
    let other = try StructuredLinear(layer.structure, parameters: doubled, bias: layer.bias)
    layer.values = Dictionary(uniqueKeysWithValues: doubled.map { ($0.key, $0.value) })
    try expectClose(layer(x), other(x), tolerance)
  }
}
