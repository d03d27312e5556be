import MLX
import TestSupport
import Testing

/// The product of [m, k] and [k, n] by loops, in double precision.
private func product(_ a: MLXArray, _ b: MLXArray) throws -> [Double] {
  let (m, k, n) = (a.dim(0), a.dim(1), b.dim(1))
  let (x, y) = (try a.asArray(Double.self), try b.asArray(Double.self))
  return (0..<m).flatMap { i in
    (0..<n).map { j in (0..<k).reduce(0) { $0 + x[i * k + $1] * y[$1 * n + j] } }
  }
}

@Suite struct ProductTests {
  @Test(arguments: [(1, 1, 1), (3, 5, 7), (16, 33, 9), (1, 64, 3)])
  func productsAgreeWithLoops(_ m: Int, _ k: Int, _ n: Int) throws {
    let a = MLXRandom.normal([m, k], key: MLXRandom.key(1))
    let b = MLXRandom.normal([k, n], key: MLXRandom.key(2))
    let expected = try product(a, b)
    let tolerance = Tolerance.roundings(2 * Double(k), of: .float32)
    expectClose(try matmul(a, b).asArray(Double.self), expected, tolerance)
    // The same by transposed views, by einsum, and added to something.
    let turned = matmul(contiguous(a.T).T, contiguous(b.T).T)
    expectClose(try turned.asArray(Double.self), expected, tolerance)
    expectClose(try einsum("ik,kj->ij", a, b).asArray(Double.self), expected, tolerance)
    let added = addMM(MLXArray.ones([n]), a, b, alpha: 2, beta: 3)
    expectClose(try added.asArray(Double.self), expected.map { 2 * $0 + 3 }, tolerance)
  }

  @Test func lowPrecisionFollowsTheTwoTimesRule() throws {
    let (a, b) = (
      MLXRandom.normal([8, 64], key: MLXRandom.key(1)),
      MLXRandom.normal([64, 8], key: MLXRandom.key(2))
    )
    for type in [DType.bfloat16, .float16] {
      let (low, other) = (a.asType(type), b.asType(type))
      let result = matmul(low, other)
      #expect(result.dtype == type)
      // The exact product of the rounded factors, rounded once.
      let exact = matmul(low.asType(.float32), other.asType(.float32))
      try expectTwoTimes(result, plain: exact.asType(type), reference: exact)
    }
  }

  @Test func batchesAreProductsOfTheirOwn() throws {
    let a = MLXRandom.normal([3, 2, 4, 5], key: MLXRandom.key(1))
    let b = MLXRandom.normal([2, 5, 6], key: MLXRandom.key(2))
    let all = a.matmul(b)
    #expect(all.shape == [3, 2, 4, 6])
    for i in 0..<3 {
      for j in 0..<2 {
        expectClose(
          try all[i, j].asArray(Double.self), try product(a[i, j], b[j]),
          .roundings(16, of: .float32))
      }
    }
    try expectClose(einsum("abij,bjk->abik", a, b), all, .roundings(16, of: .float32))
    #expect(matmul(a[0, 0, 0], b[0]).shape == [6])
  }

  @Test func otherProductsAgreeWithTheirDefinitions() throws {
    let a = MLXRandom.normal([2, 3], key: MLXRandom.key(1))
    let b = MLXRandom.normal([4, 5], key: MLXRandom.key(2))
    let blocks = (a.reshaped(2, 1, 3, 1) * b.reshaped(1, 4, 1, 5)).reshaped(8, 15)
    try expectClose(kron(a, b), blocks, .roundings(1, of: .float32))
    try expectClose(
      outer(a[0], b[0]), a[0].reshaped(3, 1) * b[0].reshaped(1, 5), .roundings(1, of: .float32))
    // H₂ ⊗ H₂, twice, is four times the identity.
    let x = MLXRandom.normal([3, 4], key: MLXRandom.key(3))
    let h = MLXArray([1, 1, 1, -1] as [Float], [2, 2])
    try expectClose(
      hadamardTransform(x, scale: 1), matmul(x, kron(h, h)), .roundings(8, of: .float32))
    try expectClose(
      hadamardTransform(hadamardTransform(x, scale: 0.5), scale: 0.5), x,
      .roundings(8, of: .float32))
    try expectClose(
      einsum("ij->j", a), a.sum(axis: 0), .roundings(4, of: .float32))
    try expectClose(einsum("ij,ij->", a, a), square(norm(a)), .roundings(8, of: .float32))
  }

  @Test func wrongProductsFail() {
    let a = MLXArray.ones([2, 3])
    for array in [
      matmul(a, a), addMM(MLXArray.ones([5]), a, a.T), einsum("ij,jk->ik", a, a),
      einsum("i?->j", a), einsum("", operands: []), matmul(arange(3), arange(3)),
    ] { #expect(array.failure != nil) }
  }
}

@Suite struct LinearAlgebraTests {
  private let keys = MLXRandom.split(key: MLXRandom.key(7), into: 3)
  private let tolerance = Tolerance.roundings(64, of: .float32)

  private func positiveDefinite(_ n: Int) -> MLXArray {
    let a = MLXRandom.normal([n, n], key: keys[0])
    return matmul(a, a.T) + MLXArray.eye(n)
  }

  @Test(arguments: [(4, 4), (6, 3), (3, 6)])
  func singularValuesReconstruct(_ m: Int, _ n: Int) throws {
    let a = MLXRandom.normal([2, m, n], key: keys[0])
    let (u, s, vt) = MLXLinalg.svd(a)
    let k = min(m, n)
    #expect(u.shape == [2, m, m] && s.shape == [2, k] && vt.shape == [2, n, n])
    let rebuilt = matmul(u[ellipsis, ..<k] * s.expandedDimensions(axis: 1), vt[0..., ..<k])
    try expectClose(rebuilt, a, tolerance)
    try expectClose(matmul(u, u.transposed(0, 2, 1))[0], MLXArray.eye(m), tolerance)
    try expectClose(matmul(vt, vt.transposed(0, 2, 1))[1], MLXArray.eye(n), tolerance)
    #expect(try (s[0..., ..<(k - 1)] .>= s[0..., 1...]).all().item(Bool.self))
    #expect(try (s .>= 0).all().item(Bool.self))
  }

  @Test(arguments: [(4, 4), (6, 3), (3, 6)])
  func orthogonalTimesTriangularReconstructs(_ m: Int, _ n: Int) throws {
    let a = MLXRandom.normal([m, n], key: keys[0])
    let (q, r) = MLXLinalg.qr(a)
    let k = min(m, n)
    #expect(q.shape == [m, k] && r.shape == [k, n])
    try expectClose(matmul(q, r), a, tolerance)
    try expectClose(matmul(q.T, q), MLXArray.eye(k), tolerance)
    try expectClose(r * MLXArray.tri(k, m: n, k: -1), MLXArray.zeros([k, n]), .absolute(0))
  }

  @Test func eigenvectorsDiagonalise() throws {
    let a = positiveDefinite(5)
    let (values, vectors) = MLXLinalg.eigh(a)
    #expect(values.shape == [5] && vectors.shape == [5, 5])
    try expectClose(matmul(a, vectors), vectors * values, tolerance)
    try expectClose(matmul(vectors.T, vectors), MLXArray.eye(5), tolerance)
    #expect(try (values[..<4] .<= values[1...]).all().item(Bool.self))
    let upper = a + MLXArray.tri(5, k: -1).T * 100
    try expectClose(MLXLinalg.eigh(upper).0, values, tolerance)
  }

  @Test func choleskyFactorsReconstruct() throws {
    let a = positiveDefinite(5)
    let l = MLXLinalg.cholesky(a)
    try expectClose(matmul(l, l.T), a, tolerance)
    try expectClose(l * MLXArray.tri(5, k: -1).T, MLXArray.zeros([5, 5]), .absolute(0))
    let u = MLXLinalg.cholesky(a, upper: true)
    try expectClose(matmul(u.T, u), a, tolerance)
    // One of a batch that has none does not spoil the other.
    let batch = MLXLinalg.cholesky(stacked([a, -a]))
    try expectClose(batch[0], l, tolerance)
    #expect(try isNaN(batch[1]).all().item(Bool.self))
  }

  @Test func solutionsSolve() throws {
    let a = MLXRandom.normal([5, 5], key: keys[1]) + 4 * MLXArray.eye(5)
    let b = MLXRandom.normal([5, 2], key: keys[2])
    try expectClose(matmul(a, MLXLinalg.solve(a, b)), b, tolerance)
    try expectClose(matmul(a, MLXLinalg.inv(a)), MLXArray.eye(5), tolerance)
    let lower = a * MLXArray.tri(5)
    try expectClose(matmul(lower, MLXLinalg.solveTriangular(lower, b)), b, tolerance)
    try expectClose(
      matmul(lower.T, MLXLinalg.solveTriangular(lower.T, b, upper: true)), b, tolerance)
  }

  @Test func pseudoInversesSatisfyPenrose() throws {
    let a = matmul(
      MLXRandom.normal([6, 2], key: keys[0]), MLXRandom.normal([2, 4], key: keys[1]))
    let p = MLXLinalg.pinv(a)
    #expect(p.shape == [4, 6])
    try expectClose(matmul(matmul(a, p), a), a, tolerance)
    try expectClose(matmul(matmul(p, a), p), p, tolerance)
    try expectClose(matmul(a, p), matmul(a, p).T, tolerance)
  }

  @Test func doublePrecisionIsKept() throws {
    let a = positiveDefinite(4).asType(.float64)
    // The CPU alone has float64.
    try Device.withDefaultDevice(.cpu) {
      let l = MLXLinalg.cholesky(a)
      #expect(l.dtype == .float64)
      try expectClose(matmul(l, l.T), a, .roundings(64, of: .float64))
    }
  }

  @Test func matricesWithoutAnAnswerThrowAtTheEvaluation() {
    let singular = MLXArray.zeros([2, 2])
    #expect(throws: MLXError.self) { try MLXLinalg.inv(singular).eval() }
    #expect(throws: MLXError.self) { try MLXLinalg.solve(singular, MLXArray.ones([2, 1])).eval() }
    let nan = MLXArray.full([2, 2], values: MLXArray(Float.nan))
    #expect(throws: MLXError.self) { try MLXLinalg.svd(nan).1.eval() }
    #expect(MLXLinalg.svd(MLXArray.ones([2, 2], dtype: .bfloat16)).1.failure != nil)
    #expect(MLXLinalg.svd(MLXArray.ones([2])).0.failure != nil)
    #expect(MLXLinalg.cholesky(MLXArray.ones([2, 3])).failure != nil)
  }
}
