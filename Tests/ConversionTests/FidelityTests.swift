import Foundation
import MLX
import TestSupport
import Testing

@testable import Conversion

@Suite struct FidelityTests {
  /// Everything by its definition, in double precision and without sorting.
  private struct Explicit {
    var cosines: [Double] = []
    var rankCorrelation = 0.0
    var agreement = 0.0

    init(_ a: [[Double]], _ b: [[Double]]) {
      func dot(_ x: [Double], _ y: [Double]) -> Double { zip(x, y).reduce(0) { $0 + $1.0 * $1.1 } }
      func cosine(_ x: [Double], _ y: [Double]) -> Double {
        dot(x, y) / (dot(x, x) * dot(y, y)).squareRoot()
      }
      cosines = zip(a, b).map(cosine)
      func similarities(_ rows: [[Double]]) -> [Double] {
        rows.indices.flatMap { i in rows[(i + 1)...].map { cosine(rows[i], $0) } }
      }
      func ranks(_ values: [Double]) -> [Double] {
        values.map { value in
          let (below, equal) = (values.count { $0 < value }, values.count { $0 == value })
          return Double(below) + Double(equal - 1) / 2
        }
      }
      let (x, y) = (ranks(similarities(a)), ranks(similarities(b)))
      let mean = Double(x.count - 1) / 2
      let (dx, dy) = (x.map { $0 - mean }, y.map { $0 - mean })
      rankCorrelation = dot(dx, dy) / (dot(dx, dx) * dot(dy, dy)).squareRoot()
      func neighbour(_ rows: [[Double]], _ i: Int) -> Int? {
        rows.indices.filter { $0 != i }.max {
          cosine(rows[i], rows[$0]) < cosine(rows[i], rows[$1])
        }
      }
      let same = a.indices.count { neighbour(a, $0) == neighbour(b, $0) }
      agreement = Double(same) / Double(a.count)
    }
  }

  private func rows(_ array: MLXArray) throws -> [[Double]] {
    let flat = try array.asArray(Double.self)
    return stride(from: 0, to: flat.count, by: array.dim(1)).map {
      Array(flat[$0..<($0 + array.dim(1))])
    }
  }

  @Test(arguments: 0..<4)
  func figuresAreThoseOfTheDefinitions(_ seed: UInt64) throws {
    let (first, second) = MLXRandom.split(key: MLXRandom.key(seed))
    let reference = MLXRandom.normal([9, 5], key: first)
    let moved = reference + 0.8 * MLXRandom.normal([9, 5], key: second)
    let fidelity = try Fidelity(of: moved, to: reference)
    let expected = Explicit(try rows(moved), try rows(reference))
    expectClose(
      [
        fidelity[.cosine], fidelity[.worstCosine], fidelity[.rankCorrelation],
        fidelity[.neighbourAgreement],
      ],
      [
        expected.cosines.reduce(0, +) / 9, expected.cosines.min() ?? 0, expected.rankCorrelation,
        expected.agreement,
      ], .absolute(1e-5))
    #expect(fidelity.count == 9)
    #expect(fidelity[.cosine] < 0.99 && fidelity[.rankCorrelation] < 0.99)
  }

  @Test func scaleDoesNotCountAndACopyIsPerfect() throws {
    let x = MLXRandom.normal([6, 4], key: MLXRandom.key(0))
    for other in [x, x * 100, x * MLXArray([1, 2, 3, 4, 5, 6] as [Float], [6, 1])] {
      let fidelity = try Fidelity(of: other, to: x)
      expectClose(
        [fidelity[.cosine], fidelity[.worstCosine], fidelity[.neighbourAgreement]], [1, 1, 1],
        .absolute(1e-6))
      #expect(fidelity[.rankCorrelation] > 0.99)
    }
    #expect(try Fidelity(of: -x, to: x)[.cosine] < -0.999)
  }

  @Test func wrongEmbeddingsAreRefused() throws {
    let x = MLXArray.ones([3, 2])
    func refusal(_ a: MLXArray, _ b: MLXArray) throws -> String {
      try #require(throws: ConversionError.self) { try Fidelity(of: a, to: b) }.description
    }
    #expect(try refusal(x, .ones([4, 2])).contains("[3, 2] and [4, 2]"))
    #expect(try refusal(.ones([2, 2]), .ones([2, 2])).contains("three or more"))
    #expect(try refusal(.ones([6]), .ones([6])).contains("[6]"))
    for bad in [Float.nan, .infinity] {
      let broken = MLXArray([1, 2, 3, bad, 5, 6] as [Float], [3, 2])
      #expect(try refusal(broken, x).contains("finite"))
      #expect(try refusal(x, broken).contains("finite"))
    }
    #expect(throws: MLXError("a cause")) {
      try Fidelity(of: MLXArray(failure: MLXError("a cause")), to: x)
    }
  }

  @Test func equalValuesShareTheirRank() {
    #expect(ranks([3, 1, 3, 2]) == [2.5, 0, 2.5, 1])
    #expect(ranks([5, 5, 5]) == [1, 1, 1])
    #expect(ranks([]) == [])
    #expect(ranks([2, -1]) == [1, 0])
  }

  @Test func correlationIsPearsons() {
    #expect(correlation([1, 2, 3], [2, 4, 6]) == 1)
    #expect(correlation([1, 2, 3], [3, 2, 1]) == -1)
    #expect(correlation([1, 2, 3], [7, 7, 7]) == 0)
    expectClose([correlation([1, 2, 3, 4], [1, 3, 2, 4])], [0.8], .absolute(1e-12))
  }
}
