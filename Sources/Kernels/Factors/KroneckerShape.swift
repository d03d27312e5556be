/// A Kronecker-sparse factor's pattern: a·d dense blocks b × c, seen through a stride of d.
///
///     y[(i·b + j)·d + l] = Σ_k x[(i·c + k)·d + l] · w[i][j][k][l]
public struct KroneckerShape: Hashable, Sendable, Codable, CustomStringConvertible {
  /// The four sizes.
  public var a: Int, b: Int, c: Int, d: Int

  /// Makes a pattern.
  public init(_ a: Int, _ b: Int, _ c: Int, _ d: Int) {
    (self.a, self.b, self.c, self.d) = (a, b, c, d)
  }

  /// a·c·d.
  public var inputs: Int { a * c * d }
  /// a·b·d.
  public var outputs: Int { a * b * d }
  /// The weights: one multiply-add each a row.
  public var weights: Int { a * b * c * d }
  /// The pattern of the transposed matrix.
  public var transposed: KroneckerShape { KroneckerShape(a, c, b, d) }
  /// `1x48x48x8`.
  public var description: String { "\(a)x\(b)x\(c)x\(d)" }
}
