import MLX
import TestSupport
import Testing

private struct Stop: Error, CustomStringConvertible {
  let description = "stopped on purpose"
}

@Suite struct TransformTests {
  private let keys = MLXRandom.split(key: MLXRandom.key(0), into: 4)
  private let tolerance = Tolerance.roundings(16, of: .float32)

  @Test func gradientsAgreeWithCalculus() throws {
    let x = MLXArray([0.3, -1.2] as [Float])
    try expectClose(grad { sum(sin($0)) }(x), cos(x), tolerance)
    try expectClose(grad(grad { sum($0 * $0 * $0) * 1 } >>> { sum($0) })(x), 6 * x, tolerance)
    let both = valueAndGrad({ [sum($0[0] * $0[1]), $0[0] + 1] }, argumentNumbers: [1, 0])
    let (values, gradients) = both([x, x + 1])
    #expect(values.count == 2 && gradients.count == 2)
    try expectClose(values[1], x + 1, tolerance)
    try expectClose(gradients[0], x, tolerance)
    try expectClose(gradients[1], x + 1, tolerance)
    try expectClose(grad({ [sum(exp($0[0]))] })([x])[0], exp(x), tolerance)
    try expectClose(grad { sum($0 * stopGradient($0)) }(x), x, tolerance)
  }

  @Test func gradientsAgreeWithDifferences() throws {
    let a = MLXRandom.normal([3, 4], key: keys[0])
    let positive = abs(a) + 0.5
    let functions: [(String, ([MLXArray]) -> MLXArray, MLXArray)] = [
      ("softmax", { sum(square(softmax($0[0]))) }, a),
      ("logSumExp", { sum(logSumExp($0[0], axis: 1)) }, a),
      ("variance", { sum(variance($0[0], axis: 0)) }, a),
      ("norm", { norm($0[0]) }, positive),
      ("sort", { sum(sorted($0[0]) * arange(0, 4)) }, a),
      ("take", { sum(square(take($0[0], MLXArray([0, 2, 2]), axis: 0))) * 0.1 }, a),
      ("slice", { sum(square($0[0][1..., stride(from: 3, to: 0, by: -2)])) }, a),
      (
        "assign",
        {
          let y = $0[0] * 1
          y[0] = square(y[1])
          return sum(y * y) * 0.1
        }, a
      ),
      ("concatenate", { sum(square(concatenated([$0[0], $0[0] * 2], axis: 1))) * 0.1 }, a),
      ("divide", { sum(1 / $0[0]) }, positive),
      ("power", { sum(pow($0[0], 1.5)) * 0.1 }, positive),
      ("erf", { sum(erf($0[0])) }, a),
      ("einsum", { sum(square(einsum("ij,kj->ik", $0[0], $0[0]))) * 0.01 }, a),
      ("pad", { sum(square(padded($0[0], widths: [(1, 0), (0, 2)]))) * 0.1 }, a),
      ("which", { sum(which($0[0] .> 0, square($0[0]), -$0[0])) }, a),
      ("cumsum", { sum(square(cumsum($0[0], axis: 1))) * 0.02 }, a),
      ("kron", { sum(square(kron($0[0], $0[0]))) * 0.002 }, a),
    ]
    for (_, function, point) in functions { try expectGradient(of: function, at: [point]) }
  }

  @Test func productsWithTheJacobianAreTransposes() throws {
    let x = MLXRandom.normal([3], key: keys[0])
    let w = MLXRandom.normal([4, 3], key: keys[1])
    let function: ([MLXArray]) -> [MLXArray] = { [tanh(matmul(w, $0[0]))] }
    let (t, c) = (MLXRandom.normal([3], key: keys[2]), MLXRandom.normal([4], key: keys[3]))
    let forward = try jvp(function, primals: [x], tangents: [t])
    let backward = try vjp(function, primals: [x], cotangents: [c])
    // ⟨c, J t⟩ = ⟨Jᵀ c, t⟩
    try expectClose(sum(c * forward.tangents[0]), sum(backward.gradients[0] * t), tolerance)
    try expectClose(forward.values[0], backward.values[0], tolerance)
    let jacobian = (1 - square(tanh(matmul(w, x)))).reshaped(4, 1) * w
    try expectClose(forward.tangents[0], matmul(jacobian, t), tolerance)
  }

  @Test func checkpointsChangeNothingButMemory() throws {
    let x = MLXRandom.normal([5], key: keys[0])
    var calls = 0
    let body: ([MLXArray]) -> [MLXArray] = { arrays in
      calls += 1
      return [sin(exp(arrays[0]))]
    }
    let kept = checkpoint(body)
    try expectClose(kept([x])[0], sin(exp(x)), tolerance)
    calls = 0
    let gradient = grad { sum(kept([$0])[0]) }(x)
    try expectClose(gradient, cos(exp(x)) * exp(x), tolerance)
    // Once forward and once again in the backward pass.
    #expect(calls == 2)
  }

  @Test func customGradientsGetWhatTheyNeed() throws {
    let function = CustomFunction(
      outputs: 2, forward: { [$0[0] * $0[1], $0[0] + $0[1]] },
      backward: { primals, cotangents, outputs in
        #expect(primals.count == 2 && cotangents.count == 2 && outputs.count == 2)
        return [
          cotangents[0] * primals[1] + cotangents[1], cotangents[0] * primals[0] + cotangents[1],
        ]
      })
    let (a, b) = (MLXArray([2, 3] as [Float]), MLXArray([5, 7] as [Float]))
    try expectGradient(
      of: { arrays in
        let outputs = function(arrays)
        return sum(outputs[0] * outputs[1]) * 0.01
      }, at: [a, b])
  }

  // MARK: - Errors

  @Test func errorsInsideClosuresComeOut() throws {
    let x = MLXArray([1, 2] as [Float])
    let gradient = grad { (_: MLXArray) -> MLXArray in throw Stop() }(x)
    #expect(gradient.failure?.description.contains("stopped on purpose") == true)
    let many = grad({ _ in throw Stop() }, argumentNumbers: [0, 1])([x, x])
    #expect(many.count == 2 && many[1].failure?.description.contains("stopped") == true)
    #expect(throws: MLXError.self) {
      try vjp({ _ in throw Stop() }, primals: [x], cotangents: [x])
    }
    #expect(throws: MLXError.self) {
      try jvp({ _ in throw Stop() }, primals: [x], tangents: [x])
    }
    #expect(checkpoint(outputs: 2) { _ in throw Stop() }([x])[1].failure != nil)
    #expect(compile(count: 3) { _ in throw Stop() }([x])[2].failure != nil)
    let forward = CustomFunction(forward: { _ in throw Stop() }, backward: { $1 + $2 })
    #expect(forward([x])[0].failure?.description.contains("stopped") == true)
    let backward = CustomFunction(forward: { $0 }, backward: { _, _, _ in throw Stop() })
    #expect(grad { sum(backward([$0])[0]) }(x).failure?.description.contains("stopped") == true)
    #expect(throws: MLXError.self) {
      try withError { _ = compile { _ in throw Stop() }([x]) }
    }
  }

  @Test func failedResultsOfClosuresComeOut() throws {
    let x = MLXArray.ones([2, 3])
    let wrong: (MLXArray) -> MLXArray = { sum(matmul($0, $0)) }
    #expect(grad(wrong)(x).failure?.description.contains("(2,3)") == true)
    #expect(compile { [wrong($0[0])] }([x])[0].failure != nil)
    #expect(checkpoint { [wrong($0[0])] }([x])[0].failure != nil)
    #expect(
      CustomFunction(forward: { [wrong($0[0])] }, backward: { $1 + $2 })([x])[0].failure != nil)
  }

  @Test func wrongClosuresFail() throws {
    let x = MLXArray([1, 2] as [Float])
    #expect(grad { $0 * 2 }(x).failure != nil)
    #expect(throws: MLXError.self) { try valueAndGrad([x], argumentNumbers: [1]) { $0 } }
    #expect(throws: MLXError.self) { try valueAndGrad([x], argumentNumbers: [0]) { _ in [] } }
    #expect(throws: MLXError.self) {
      try valueAndGrad([x, x], argumentNumbers: [1, 0, 0]) { [sum($0[0])] }
    }
    #expect(throws: MLXError.self) { try vjp({ $0 }, primals: [x], cotangents: []) }
    #expect(throws: MLXError.self) { try vjp({ $0 }, primals: [x], cotangents: [x[0]]) }
    #expect(throws: MLXError.self) { try jvp({ $0 }, primals: [x], tangents: [x[0]]) }
    let fewer = CustomFunction(
      forward: { [$0[0] * $0[1]] }, backward: { [$1[0] * $0[1]] + [] + $2[1...] })
    #expect(
      grad { sum(fewer([$0, $0])[0]) }(x).failure?.description.contains("each of 2 inputs") == true)
    let shapes = CustomFunction(forward: { [$0[0] * 2] }, backward: { _, c, _ in [c[0].sum()] })
    #expect(grad { sum(shapes([$0])[0]) }(x).failure?.description.contains("[2], got []") == true)
    #expect(
      CustomFunction(outputs: 2, forward: { $0 }, backward: { $1 + $2 })([x])[1].failure != nil)
  }
}

infix operator >>> : AdditionPrecedence

/// The functions one after the other.
private func >>> (
  first: @escaping (MLXArray) -> MLXArray, second: @escaping (MLXArray) -> MLXArray
) -> (MLXArray) -> MLXArray {
  { second(first($0)) }
}

@Suite struct CompileTests {
  private final class Counter: Updatable {
    let value = MLXArray(Float(0))
    func innerState() -> [MLXArray] { [value] }
  }

  @Test func compiledFunctionsGiveTheSame() throws {
    let (a, b) = (
      MLXRandom.normal([2, 3], key: MLXRandom.key(0)), MLXRandom.normal([3], key: MLXRandom.key(1))
    )
    let body: ([MLXArray]) -> [MLXArray] = { arrays in
      [tanh(arrays[0]) * arrays[1] + 1, arrays[0].sum(axis: 0)]
    }
    var traces = 0
    let compiled = compile(count: 2) { arrays in
      traces += 1
      return body(arrays)
    }
    for _ in 0..<3 {
      for (ours, plain) in zip(compiled([a, b]), body([a, b])) {
        try expectClose(ours, plain, .roundings(4, of: .float32))
      }
    }
    #expect(traces == 1)
    // Another shape and another type are recorded anew.
    #expect(compiled([a[0], b])[0].shape == [3])
    #expect(compiled([a.asType(.float16), b.asType(.float16)])[0].dtype == .float16)
    #expect(traces == 3)
    #expect(compiled([a, MLXArray.ones([2])])[0].failure != nil)
    try expectClose(compiled([a, b])[0], body([a, b])[0], .roundings(4, of: .float32))
  }

  @Test func gradientsPassThroughCompiledFunctionsBothWays() throws {
    let x = MLXArray([0.5, -2] as [Float])
    let inner = compile { [sum(square($0[0]) * 3)] }
    try expectClose(grad { inner([$0])[0] }(x), 6 * x, .roundings(4, of: .float32))
    let outer = compile { arrays in [grad { sum(square($0) * 3) }(arrays[0])] }
    try expectClose(outer([x])[0], 6 * x, .roundings(4, of: .float32))
  }

  @Test func failedCallsLeaveTheStateAlone() throws {
    let counter = Counter()
    let step = compile(inputs: [counter], outputs: [counter]) { arrays in
      counter.value.update(counter.value + 1)
      return [matmul(arrays[0], arrays[1]) + counter.value]
    }
    let x = MLXArray.ones([2, 2])
    #expect(try step([x, x])[0][0, 0].item(Float.self) == 3)
    #expect(step([x, MLXArray.ones([3, 3])])[0].failure != nil)
    #expect(try counter.value.item(Float.self) == 1)
    #expect(try step([x, x])[0][0, 0].item(Float.self) == 4)
    let broken = compile(inputs: [counter], outputs: [counter]) { _ in
      counter.value.update(counter.value + 1)
      throw Stop()
    }
    #expect(broken([])[0].failure != nil)
    #expect(try counter.value.item(Float.self) == 2)
  }

  @Test func stateMayBeReturned() throws {
    let counter = Counter()
    let step = compile(inputs: [counter], outputs: [counter]) { _ in
      counter.value.update(counter.value + 1)
      return [counter.value]
    }
    for expected: Float in [1, 2] {
      #expect(try step([])[0].item(Float.self) == expected)
      #expect(try counter.value.item(Float.self) == expected)
    }
  }

  @Test func stateThatIsOnlyReadIsReadAtEveryCall() throws {
    let counter = Counter()
    let read = compile(inputs: [counter]) { [$0[0] + counter.value] }
    for value: Float in [1, 5] {
      counter.value.update(MLXArray(value))
      #expect(try read([MLXArray(Float(2))])[0].item(Float.self) == value + 2)
    }
  }

  @Test func valuesCannotBeAskedForWhileRecording() throws {
    let asking = compile { [MLXArray(try $0[0].item(Float.self))] }
    #expect(asking([MLXArray(1.0)])[0].failure != nil)
    var kept: MLXArray?
    _ = compile { arrays in
      kept = arrays[0]
      return [arrays[0] * 2]
    }([MLXArray(1.0)])
    let placeholder = try #require(kept)
    #expect(throws: MLXError.self) { try (placeholder + 1).eval() }
  }

  @Test func shapelessFunctionsAreRecordedOnce() throws {
    var traces = 0
    let function = compile(shapeless: true) { arrays in
      traces += 1
      return [arrays[0] * 2 + 1]
    }
    for count in 1...3 {
      #expect(
        try function([MLXArray.ones([count])])[0].asArray(Float.self)
          == Array(repeating: 3, count: count))
    }
    #expect(traces == 1)
  }
}
