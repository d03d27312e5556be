/// Which structure replaces a dense layer, as text: `btt:rank=2`, `stl:rank=24,rows=batch`.
///
/// The text is a name, then `:` and comma-separated options; a Kronecker-sparse chain is a name and
/// patterns joined by `+`. ``description`` prints a spec so that parsing it gives the same spec.
public enum OperatorSpec: Hashable, Sendable {
  /// A full weight: `dense`.
  case dense
  /// U V with an inner dimension: `lowrank:rank=R`.
  case lowRank(rank: Int)
  /// A Kronecker product of two factors: `kronecker[:in=m0xm1][,out=n0xn1]`.
  case kronecker(input: Factors? = nil, output: Factors? = nil)
  /// Tensor train with two cores: `tt:rank=R[,in=m0xm1][,out=n0xn1]`.
  case tensorTrain(rank: Int, input: Factors? = nil, output: Factors? = nil)
  /// Two block-diagonal factors with a permutation between: `monarch:blocks=b`.
  case monarch(blocks: Int)
  /// Block Tensor-Train with two cores: `btt:rank=R[,in=m0xm1][,out=n0xn1][,norm=true]`.
  case blockTensorTrain(
    rank: Int, input: Factors? = nil, output: Factors? = nil, normalized: Bool = false)
  /// A product of Kronecker-sparse factors, the first applied first: `ks:AxBxCxD[+AxBxCxD…]`.
  case kroneckerSparse([KroneckerPattern])
  /// Strassen-Tile: `stl:rank=R[,tile=4][,encoder=NAME][,rows=sequence|batch|flat]`.
  case strassenTile(rank: Int, tile: Int = 4, encoder: String? = nil, rows: RowPolicy = .sequence)
  /// Two of four weights along K are zero: `2:4`.
  case twoFour
}

/// A size written as a product: `16x24`.
public struct Factors: Hashable, Sendable, CustomStringConvertible {
  /// The first factor.
  public var first: Int
  /// The second factor.
  public var second: Int

  /// Makes factors.
  public init(_ first: Int, _ second: Int) {
    self.first = first
    self.second = second
  }

  /// The size.
  public var product: Int { first * second }

  /// `16x24`.
  public var description: String { "\(first)x\(second)" }
}

/// The pattern (a, b, c, d) of a Kronecker-sparse factor: the support I_a ⊗ 1_{b×c} ⊗ I_d.
public struct KroneckerPattern: Hashable, Sendable, CustomStringConvertible {
  /// Blocks on the diagonal.
  public var a: Int
  /// Rows of a block.
  public var b: Int
  /// Columns of a block.
  public var c: Int
  /// The diagonal that each entry of a block is.
  public var d: Int

  /// Makes a pattern.
  public init(_ a: Int, _ b: Int, _ c: Int, _ d: Int) {
    (self.a, self.b, self.c, self.d) = (a, b, c, d)
  }

  /// a·c·d, the length of an input row.
  public var inputs: Int { a * c * d }

  /// a·b·d, the length of an output row.
  public var outputs: Int { a * b * d }

  /// a·b·c·d, the numbers stored and the multiply-adds of a row.
  public var nonZeros: Int { a * b * c * d }

  /// `4x48x48x64`.
  public var description: String { "\(a)x\(b)x\(c)x\(d)" }
}

/// Which rows a Strassen-Tile operator puts into one tile.
public enum RowPolicy: String, Hashable, Sendable, CaseIterable {
  /// Consecutive tokens of one sample, each sample padded to whole tiles: encoders, vision.
  case sequence
  /// The same position of consecutive samples: causal models.
  case batch
  /// Consecutive rows after flattening: where rows have no order.
  case flat
}
