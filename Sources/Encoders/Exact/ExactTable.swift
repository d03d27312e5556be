/// An encoder over the rationals, whose exactness can be proved.
public struct ExactTable: Sendable, Hashable, CustomStringConvertible {
  /// The name under which the library knows it.
  public var name: String
  /// The tile side t.
  public let tile: Int
  /// The number of products R.
  public let rank: Int
  /// The activation encoder U, [R, t²] row-major.
  public var activation: [Rational]
  /// The weight encoder V, [R, t²] row-major.
  public var weight: [Rational]
  /// The decoder W, [R, t²] row-major.
  public var decoder: [Rational]
  /// Where the numbers come from.
  public var source: String

  /// Creates a table from its entries, each [R, t²] row-major.
  ///
  /// - Throws: ``EncoderError`` if a size is out of range or a table has another number of entries.
  public init(
    name: String, tile: Int, rank: Int, activation: [Rational], weight: [Rational],
    decoder: [Rational], source: String
  ) throws(EncoderError) {
    guard tile > 0, tile <= 64, rank > 0, rank <= 1 << 20 else {
      throw .size(name: name, tile: tile, rank: rank)
    }
    let expected = rank * tile * tile
    for table in [activation, weight, decoder] where table.count != expected {
      throw .shape(name: name, expected: expected, got: table.count)
    }
    self.name = name
    self.tile = tile
    self.rank = rank
    self.activation = activation
    self.weight = weight
    self.decoder = decoder
    self.source = source
  }

  /// Reads the three tables as text: integers or fractions separated by white space.
  ///
  /// - Throws: ``EncoderError/malformed(name:entry:)`` for an entry that is neither.
  public init(
    name: String, tile: Int, rank: Int, activation: String, weight: String, decoder: String,
    source: String
  ) throws(EncoderError) {
    func parse(_ text: String) throws(EncoderError) -> [Rational] {
      var entries: [Rational] = []
      for word in text.split(whereSeparator: \.isWhitespace) {
        guard let entry = Rational(word) else {
          throw .malformed(name: name, entry: String(word))
        }
        entries.append(entry)
      }
      return entries
    }
    try self.init(
      name: name, tile: tile, rank: rank, activation: parse(activation), weight: parse(weight),
      decoder: parse(decoder), source: source)
  }

  /// "strassen (tile 2, rank 7)".
  public var description: String { "\(name) (tile \(tile), rank \(rank))" }

  /// The table in floating point; exact if every denominator is a power of two.
  public var encoder: Encoder {
    Encoder(
      uncheckedName: name, tile: tile, rank: rank, activation: activation.map(\.doubleValue),
      weight: weight.map(\.doubleValue), decoder: decoder.map(\.doubleValue),
      provenance: Encoder.Provenance(source: source))
  }

  /// Proves that the table is a decomposition of the matrix multiplication tensor.
  ///
  /// All t⁶ equations Σ_p u_p[a] v_p[b] w_p[c] = T[a, b, c] (Brent 1970) are checked in rational
  /// arithmetic with overflow detection, a outermost, c innermost.
  ///
  /// - Throws: ``EncoderError/notExact(name:mismatch:)`` with the first equation that fails,
  ///   ``EncoderError/overflow(name:)`` if the arithmetic does not fit.
  /// - Complexity: O(R t⁴) products of pairs that are not zero, each against one row of the decoder.
  public func prove() throws(EncoderError) {
    let area = tile * tile
    var sums = [Rational](repeating: .zero, count: area)
    for a in 0..<area {
      for b in 0..<area {
        for c in 0..<area { sums[c] = .zero }
        for p in 0..<rank {
          let (u, v) = (activation[p * area + a], weight[p * area + b])
          guard u.numerator != 0, v.numerator != 0 else { continue }
          guard let product = u.multiplied(by: v) else { throw .overflow(name: name) }
          for c in 0..<area where decoder[p * area + c].numerator != 0 {
            guard let term = product.multiplied(by: decoder[p * area + c]),
              let sum = sums[c].adding(term)
            else { throw .overflow(name: name) }
            sums[c] = sum
          }
        }
        for c in 0..<area {
          let expected = Self.isProduct(a, b, c, tile: tile) ? Rational(integer: 1) : .zero
          guard sums[c] == expected else {
            throw .notExact(
              name: name,
              mismatch: TensorMismatch(
                tile: tile, a: a, b: b, c: c, expected: expected, got: sums[c]))
          }
        }
      }
    }
  }

  /// Whether A[a]·B[b] is a term of C[c], that is, whether T[a, b, c] = 1.
  static func isProduct(_ a: Int, _ b: Int, _ c: Int, tile: Int) -> Bool {
    a / tile == c / tile && a % tile == b / tile && b % tile == c % tile
  }

  /// The Kronecker product: matrices of blocks by this table, each block by `inner`.
  ///
  /// - Throws: ``EncoderError/overflow(name:)`` if an entry leaves the range.
  public func kronecker(_ inner: ExactTable, name: String) throws(EncoderError) -> ExactTable {
    let product = tile * inner.tile
    func combine(
      _ outerTable: [Rational], _ innerTable: [Rational]
    ) throws(EncoderError) -> [Rational] {
      var result: [Rational] = []
      result.reserveCapacity(rank * inner.rank * product * product)
      for p in 0..<rank {
        for q in 0..<inner.rank {
          for row in 0..<product {
            for column in 0..<product {
              let outerIndex =
                p * tile * tile + row / inner.tile * tile + column / inner.tile
              let innerIndex =
                q * inner.tile * inner.tile + row % inner.tile * inner.tile + column % inner.tile
              guard let entry = outerTable[outerIndex].multiplied(by: innerTable[innerIndex])
              else { throw .overflow(name: name) }
              result.append(entry)
            }
          }
        }
      }
      return result
    }
    return try ExactTable(
      name: name, tile: product, rank: rank * inner.rank,
      activation: combine(activation, inner.activation), weight: combine(weight, inner.weight),
      decoder: combine(decoder, inner.decoder),
      source: "Kronecker product of \(self.name) and \(inner.name)")
  }
}

/// An equation of Brent's system that a table does not satisfy.
public struct TensorMismatch: Sendable, Hashable, CustomStringConvertible {
  /// The tile side t.
  public let tile: Int
  /// The index into vec(A), row-major.
  public let a: Int
  /// The index into vec(B), row-major.
  public let b: Int
  /// The index into vec(C), row-major.
  public let c: Int
  /// The coefficient of the matrix multiplication tensor: 0 or 1.
  public let expected: Rational
  /// The coefficient that the table gives.
  public let got: Rational

  /// "coefficient 3/2 of A[0,1]·B[1,0] in C[0,0] where 1 is expected".
  public var description: String {
    func entry(_ letter: String, _ index: Int) -> String {
      "\(letter)[\(index / tile),\(index % tile)]"
    }
    return "coefficient \(got) of \(entry("A", a))*\(entry("B", b)) in \(entry("C", c)) "
      + "where \(expected) is expected"
  }
}
