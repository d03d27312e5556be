import Encoders
import Testing

@Suite struct RandomizedErrorTests {
  /// All signs and permutations of a product small enough to try every one: the law is exact.
  private func enumerated(
    _ encoder: Encoder, _ a: [Double], _ b: [Double], _ m: Int, _ k: Int, _ n: Int
  ) -> (mean: [Double], error: Double) {
    let t = encoder.tile
    func whole(_ size: Int) -> Int { (size + t - 1) / t * t }
    let (rows, inner, columns) = (whole(m), whole(k), whole(n))
    let exact = Encoder.classical(tile: 1).multiply(a, b, rows: m, inner: k, columns: n)
    var mean = [Double](repeating: 0, count: m * n)
    var error = 0.0
    let orders = [rows, inner, columns].map { permutations(Array(0..<$0)) }
    let signs = [rows, inner, columns].map { size in
      (0..<1 << size).map { bits in (0..<size).map { bits >> $0 & 1 == 0 ? 1.0 : -1.0 } }
    }
    var count = 0.0
    for r in orders[0] {
      for q in orders[1] {
        for c in orders[2] {
          for x in signs[0] {
            for y in signs[1] {
              for z in signs[2] {
                var (left, right) = (
                  [Double](repeating: 0, count: rows * inner),
                  [Double](repeating: 0, count: inner * columns)
                )
                for i in 0..<rows where r[i] < m {
                  for l in 0..<inner where q[l] < k {
                    left[i * inner + l] = x[r[i]] * y[q[l]] * a[r[i] * k + q[l]]
                  }
                }
                for l in 0..<inner where q[l] < k {
                  for j in 0..<columns where c[j] < n {
                    right[l * columns + j] = y[q[l]] * z[c[j]] * b[q[l] * n + c[j]]
                  }
                }
                let product = encoder.multiply(
                  left, right, rows: rows, inner: inner, columns: columns)
                for i in 0..<rows where r[i] < m {
                  for j in 0..<columns where c[j] < n {
                    let value = x[r[i]] * z[c[j]] * product[i * columns + j]
                    let place = r[i] * n + c[j]
                    mean[place] += value
                    error += (value - exact[place]) * (value - exact[place])
                  }
                }
                count += 1
              }
            }
          }
        }
      }
    }
    return (mean.map { $0 / count }, error / count)
  }

  private func permutations(_ elements: [Int]) -> [[Int]] {
    guard elements.count > 1 else { return [elements] }
    return elements.indices.flatMap { index in
      var rest = elements
      let first = rest.remove(at: index)
      return permutations(rest).map { [first] + $0 }
    }
  }

  private func norms(_ a: [Double], _ b: [Double], _ m: Int, _ k: Int, _ n: Int)
    -> (product: Double, operands: Double, terms: Double)
  {
    func squares(_ values: [Double]) -> Double { values.reduce(0) { $0 + $1 * $1 } }
    let exact = Encoder.classical(tile: 1).multiply(a, b, rows: m, inner: k, columns: n)
    let terms = (0..<k).reduce(0) { sum, l in
      sum + squares((0..<m).map { a[$0 * k + l] }) * squares((0..<n).map { b[l * n + $0] })
    }
    return (squares(exact), squares(a) * squares(b), terms)
  }

  /// Whole and ragged tiles; operands with a mean, alternating, and sparse.
  @Test(arguments: [(2, 4, 2), (1, 4, 2), (2, 3, 1), (2, 2, 2), (2, 1, 2)])
  func theLawIsTheMeanOverAllSignsAndPermutations(_ m: Int, _ k: Int, _ n: Int) throws {
    let encoder = try Encoder.named("fitted-2-5")
    let unbiased = try #require(encoder.unbiased)
    let operands: [([Double], [Double])] = [
      ((0..<m * k).map { 1 + 0.1 * Double($0) }, (0..<k * n).map { 2 - 0.3 * Double($0) }),
      ((0..<m * k).map { $0 % 2 == 0 ? 1 : -0.5 }, (0..<k * n).map { $0 == 0 ? 3 : 0 }),
    ]
    for (a, b) in operands.prefix(k == 4 ? 1 : 2) {
      let exact = Encoder.classical(tile: 1).multiply(a, b, rows: m, inner: k, columns: n)
      for encoder in k == 4 ? [unbiased] : [encoder, unbiased] {
        let (mean, error) = enumerated(encoder, a, b, m, k, n)
        for (value, wanted) in zip(mean, exact) {
          // The mean is the product times the gain, which is 1 for the unbiased one.
          #expect(abs(value - encoder.gain * wanted) <= 1e-10)
        }
        let (product, both, terms) = norms(a, b, m, k, n)
        let law = encoder.randomizedError(rows: m, inner: k, columns: n)
        let claimed = law.expected(product: product, operands: both, terms: terms)
        #expect(abs(claimed - error) <= 1e-9 * error, "\(claimed), enumerated \(error)")
      }
    }
  }

  /// E‖C‖² = E‖A‖²‖B‖² / K = E Σ_k ‖A_k‖²‖B_k‖² for isotropic operands.
  @Test(arguments: ["fitted-2-5", "fitted-3-15", "fitted-4-24"])
  func theLawOfIsotropicOperandsIsTheError(_ name: String) throws {
    let encoder = try Encoder.named(name)
    let size = 12.0
    let law = encoder.randomizedError(rows: 12, inner: 12, columns: 12)
    let energy = size * size * size
    let error = law.expected(product: energy, operands: size * energy, terms: energy) / energy
    #expect(abs(error - encoder.error) <= 1e-10)
  }

  @Test(arguments: ["fitted-2-4", "fitted-4-16", "fitted-4-32"])
  func beingUnbiasedCostsAFactor(_ name: String) throws {
    let encoder = try Encoder.named(name).optimallyDecoded
    #expect(abs(encoder.gain - (1 - encoder.error)) <= 1e-9)
    let unbiased = try #require(encoder.unbiased)
    #expect(abs(unbiased.gain - 1) <= 1e-12)
    #expect(abs(unbiased.error - encoder.error / (1 - encoder.error)) <= 1e-9)
  }

  @Test func exactAlgorithmsHaveNoErrorUnderAnySigns() {
    for table in ExactTable.library {
      #expect(abs(table.encoder.gain - 1) <= 1e-12)
      let law = table.encoder.randomizedError(rows: 5, inner: 8, columns: 12)
      for factor in [law.product, law.operands, law.terms] { #expect(abs(factor) <= 1e-20) }
    }
  }

  @Test func anEncoderThatCarriesNothingCannotBeUnbiased() throws {
    let nothing = try Encoder(
      name: "nothing", tile: 2, rank: 1, activation: [1, 0, 0, 0], weight: [0, 0, 1, 0],
      decoder: [1, 0, 0, 0], provenance: .init(source: "a term that no product has"))
    #expect(nothing.gain == 0 && nothing.unbiased == nil)
  }
}
