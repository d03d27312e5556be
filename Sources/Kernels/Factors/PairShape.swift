/// Two block-diagonal factors with a transposition between them: what Block Tensor-Train, Monarch and
/// low rank compute.
///
/// An input row is m1 pieces of m0 numbers, an output row n0 pieces of n1; core 0 [m1, m0, n0·R] and
/// core 1 [n0, m1·R, n1]:
///
///     z[j][(i, s)] = Σ_p x[i][p] · core0[i][p][(j, s)]
///     y[j][q]      = Σ_{(i, s)} z[j][(i, s)] · core1[j][(i, s)][q]
public struct PairShape: Hashable, Sendable, Codable {
  /// m0, the length of an input piece, and m1, their number.
  public var m0: Int, m1: Int
  /// n0, the number of output pieces, and n1, their length.
  public var n0: Int, n1: Int
  /// R, numbers between each input and each output piece.
  public var rank: Int

  /// Makes a shape.
  public init(m0: Int, m1: Int, n0: Int, n1: Int, rank: Int) {
    (self.m0, self.m1, self.n0, self.n1, self.rank) = (m0, m1, n0, n1, rank)
  }

  /// m0·m1.
  public var inputs: Int { m0 * m1 }
  /// n0·n1.
  public var outputs: Int { n0 * n1 }
  /// The numbers between the cores, R·m1·n0.
  public var intermediates: Int { rank * m1 * n0 }
  /// Multiply-adds a row.
  public var multiplyAdds: Int { intermediates * (m0 + n1) }

  /// Whether both sides are one piece: two plain products.
  public var isLowRank: Bool { m1 == 1 && n0 == 1 }

  /// The pair of the transposed matrix: for the gradient of the input.
  public var transposed: PairShape {
    PairShape(m0: n1, m1: n0, n0: m1, n1: m0, rank: rank)
  }
}

/// ⌈a / b⌉.
func ceilDivide(_ a: Int, _ b: Int) -> Int { (a + b - 1) / b }

/// The least multiple of b that is not below a.
func roundUp(_ a: Int, _ b: Int) -> Int { ceilDivide(a, b) * b }
