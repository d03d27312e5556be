import MLX
import TestSupport
import Testing

@Suite struct FailureTests {
  private let error = MLXError("[test] the first failure.")
  private var x: MLXArray { MLXArray(failure: error) }

  @Test func everyOperationPassesOnTheFirstFailure() throws {
    let x = x
    let a = MLXArray.ones([2, 2])
    let failed: [MLXArray] = [
      // Element by element.
      abs(x), exp(x), log(x), sqrt(x), tanh(x), erf(x), sigmoid(x), isNaN(x), -x, .!x,
      stopGradient(x), x + a, a + x, x - a, a * x, x / a, x % a, x + 1, 1 - x, x * 0.5, 2 / x,
      x .== a, x .> 1, x .& a, maximum(a, x), minimum(x, 1), pow(a, x), pow(x, 2), atan2(x, a),
      logAddExp(a, x), which(x, a, a), which(a, x, a), clip(x, min: 0, max: 1), round(x),
      arrayEqual(a, x),
      // Reductions.
      x.sum(), x.sum(axis: 0), x.mean(), x.max(axis: -1), x.min(), x.all(), x.any(axis: 0),
      x.product(), x.logSumExp(axis: 0), x.variance(axis: 0), x.argMax(axis: 0), norm(x),
      softmax(x), cumsum(x, axis: 0),
      // Shapes.
      x.reshaped(2, -1), x.asType(.float16), x.asType(.float32), x.view(dtype: .int8), x.T,
      x.transposed(1, 0), x.swappedAxes(0, 1), x.movedAxis(source: 0, destination: 1),
      x.expandedDimensions(axis: 0), x.squeezed(), x.squeezed(axis: 0), x.flattened(),
      split(x, parts: 3)[2], x.split(indices: [1, 2])[2], broadcast(x, to: [2]),
      concatenated([a, x]), stacked([x, a]), repeated(x, count: 2, axis: 0),
      tiled(x, repetitions: [2]), padded(x, widths: [(1, 1)]),
      padded(a, widths: [(0, 0), (0, 0)], value: x),
      contiguous(x), asStrided(x, [1], strides: [1]), diag(x), diagonal(x),
      // Indices.
      x[0], x[0..., newAxis], x[a], a[x], take(a, x, axis: 0), takeAlong(x, a, axis: 0),
      putAlong(a, a, values: x, axis: 0), scatterAddAlong(a, x, values: a, axis: 0), sorted(x),
      argSort(x), argPartition(x, kth: 0),
      // Products and linear algebra.
      matmul(x, a), addMM(a, a, x), einsum("ij->ji", x), kron(a, x), outer(x, a),
      hadamardTransform(x, scale: 1), MLXLinalg.svd(x).2, MLXLinalg.qr(x).1, MLXLinalg.eigh(x).0,
      MLXLinalg.cholesky(x), MLXLinalg.inv(x), MLXLinalg.pinv(x), MLXLinalg.solve(a, x),
      MLXLinalg.solveTriangular(x, a),
      // Kernels, factories, random numbers.
      MLXFast.layerNorm(x, eps: 0), MLXFast.layerNorm(a, weight: x, eps: 0),
      MLXFast.rmsNorm(a, weight: x, eps: 0),
      MLXFast.RoPE(x, dimensions: 2, traditional: false, base: 1, scale: 1, offset: 0),
      MLXFast.scaledDotProductAttention(queries: a, keys: x, values: a, scale: 1),
      MLXFast.scaledDotProductAttention(queries: a, keys: a, values: a, scale: 1, mask: .array(x)),
      MLXArray.full([2], values: x), MLXArray.zeros(like: x), MLXArray.ones(like: x),
      MLXRandom.normal([2], key: x), MLXRandom.split(key: x, into: 2)[1],
      MLXRandom.categorical(x), MLXRandom.uniform([2], key: x),
      // Transformations.
      grad { $0 }(x), grad { $0 * self.x }(MLXArray(1.0)), compile { $0 }([x])[0],
      compile { _ in [self.x] }([a])[0], checkpoint { $0 }([x])[0],
      CustomFunction(forward: { $0 }, backward: { $1 + $2 })([x])[0],
      valueAndGrad({ $0 })([x]).1[0], try DistributedGroup().allSum(x),
    ]
    for (index, array) in failed.enumerated() {
      #expect(
        array.failure?.description.contains("the first failure") == true, "operation \(index)")
    }
  }

  @Test func everyWayToAskForTheValueThrows() throws {
    #expect(throws: error) { try x.eval() }
    #expect(throws: error) { try eval(MLXArray(1), x) }
    #expect(throws: error) { try asyncEval(x) }
    #expect(throws: error) { try x.item(Float.self) }
    #expect(throws: error) { try x.asArray(Double.self) }
    #expect(throws: error) { try x.asArray(Int8.self) }
    #expect(throws: error) { try x.asBytes() }
    #expect(throws: error) { try valueAndGrad([x], argumentNumbers: [0]) { $0 } }
    #expect(throws: error) { try vjp({ $0 }, primals: [x], cotangents: [MLXArray(1)]) }
    #expect(throws: error) { try jvp({ $0 }, primals: [MLXArray(1)], tangents: [x]) }
    #expect("\(x)".contains("the first failure"))
    #expect(x.shape.isEmpty && x.ndim == 0 && x.size == 0 && x.dim(0) == 0 && x.nbytes == 0)
  }

  @Test func assignmentPassesFailuresOn() throws {
    let a = MLXArray.zeros([2])
    a[0] = x
    #expect(a.failure == error)
    let b = x
    b[0] = MLXArray(1)
    #expect(b.failure == error)
    b.update(MLXArray(1))
    #expect(b.failure == nil)
  }

  @Test func theFirstErrorOfABlockIsThrown() throws {
    let (a, b) = (MLXArray.ones([2, 3]), MLXArray.ones([4, 5]))
    let thrown = #expect(throws: MLXError.self) {
      try withError {
        _ = matmul(a, b)
        _ = a.reshaped(7)
      }
    }
    #expect(thrown?.description.contains("matmul") == true)
    #expect(try withError { a.sum() }.item(Float.self) == 6)
    // What the body throws comes first, and blocks nest.
    #expect(throws: CancellationError.self) {
      try withError {
        _ = matmul(a, b)
        throw CancellationError()
      }
    }
    try withError {
      #expect(throws: MLXError.self) { try withError { _ = matmul(a, b) } }
    }
  }
}
