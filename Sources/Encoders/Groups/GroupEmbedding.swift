/// A placement of t×t tiles in a group algebra (Cohn, Umans 2003), as an approximate product.
///
/// Entry a of A goes to group element α(a), entry b of B to β(b). The product in the group algebra
/// holds at g the sum of all A[a]·B[b] with α(a) + β(b) = g: the wanted terms of tile C and, unless
/// the placement is exact, others. The Fourier transform of the group makes the product elementwise,
/// so this is an ``Encoder`` of rank ``AbelianGroup/realRank``.
///
/// The read-out of the group coefficients is optimal for independent inputs of equal variance: the
/// coefficients at different g are uncorrelated, since every A[a]·B[b] lands at one g, so C[c] takes
/// from g the share n/N, where N counts the terms at g and n those wanted for c. The error is
/// t³ − Σ n²/N, over t³. Where complex characters cost more than |G| real products, reading those
/// out freely (``Encoder/optimallyDecoded``) can do better.
public struct GroupEmbedding: Sendable, Hashable {
  /// The group.
  public let group: AbelianGroup
  /// The tile side t.
  public let tile: Int
  /// The elements α(a), [t²] row-major.
  public let activation: [Int]
  /// The elements β(b), [t²] row-major.
  public let weight: [Int]

  /// Creates a placement from the elements of all entries, [t²] row-major each.
  ///
  /// - Throws: ``EncoderError/request(_:)`` for a wrong number of elements or one not in the group.
  public init(
    group: AbelianGroup, tile: Int, activation: [Int], weight: [Int]
  ) throws(EncoderError) {
    guard tile > 0, activation.count == tile * tile, weight.count == tile * tile else {
      throw .request(
        "expected \(tile * tile) group elements for each operand, got \(activation.count) and "
          + "\(weight.count); give one an entry of the tile")
    }
    guard (activation + weight).allSatisfy({ (0..<group.order).contains($0) }) else {
      throw .request("expected elements in 0..<\(group.order), got others; check the placement")
    }
    self.group = group
    self.tile = tile
    self.activation = activation
    self.weight = weight
  }

  /// The placement of Cohn and Umans: α(i, l) = p_i − q_l and β(l, j) = q_l − s_j.
  ///
  /// Every term wanted for C[i, j] then meets at p_i − s_j.
  ///
  /// - Throws: ``EncoderError/request(_:)`` if the three lists differ in length or an element is not
  ///   in the group.
  public init(
    group: AbelianGroup, rows p: [Int], inner q: [Int], columns s: [Int]
  ) throws(EncoderError) {
    let tile = p.count
    guard tile > 0, q.count == tile, s.count == tile,
      (p + q + s).allSatisfy({ (0..<group.order).contains($0) })
    else {
      throw .request(
        "expected three lists of the same length of elements in 0..<\(group.order), "
          + "got lengths \(p.count), \(q.count), \(s.count); check the lists")
    }
    try self.init(
      group: group, tile: tile,
      activation: (0..<tile * tile).map { group.difference(p[$0 / tile], q[$0 % tile]) },
      weight: (0..<tile * tile).map { group.difference(q[$0 / tile], s[$0 % tile]) })
  }

  /// Whether three lists of elements have the triple product property.
  ///
  /// p_i − p_i′ + q_l − q_l′ + s_j − s_j′ = 0 only for i = i′, l = l′, j = j′. Then the placement is
  /// exact. In an abelian group it needs |G| ≥ |p|·|q|·|s|, so there is nothing to gain that way
  /// (Cohn, Umans 2003, lemma 3.1). All differences are tried: O(t⁶).
  public static func hasTripleProductProperty(
    group: AbelianGroup, rows p: [Int], inner q: [Int], columns s: [Int]
  ) -> Bool {
    func differences(_ elements: [Int]) -> [(difference: Int, isTrivial: Bool)] {
      elements.indices.flatMap { i in
        elements.indices.map { (group.difference(elements[i], elements[$0]), i == $0) }
      }
    }
    let (first, second, third) = (differences(p), differences(q), differences(s))
    for a in first {
      for b in second {
        let partial = group.sum(a.difference, b.difference)
        for c in third where group.sum(partial, c.difference) == 0 {
          guard a.isTrivial, b.isTrivial, c.isTrivial else { return false }
        }
      }
    }
    return true
  }

  /// The lists p, q, s of Cohn and Umans that give this placement, with q₀ the identity; nil if it is
  /// not of their form.
  ///
  /// α(i, 0) is p_i then, α(0, 0) − α(0, l) is q_l, and −β(0, j) is s_j; the rest has to follow.
  public var lists: (rows: [Int], inner: [Int], columns: [Int])? {
    let p = (0..<tile).map { activation[$0 * tile] }
    let q = (0..<tile).map { group.difference(activation[0], activation[$0]) }
    let s = (0..<tile).map { group.inverse(weight[$0]) }
    guard
      let again = try? GroupEmbedding(group: group, rows: p, inner: q, columns: s), again == self
    else { return nil }
    return (p, q, s)
  }

  /// Whether the placement is of the form of Cohn and Umans and its lists have the triple product
  /// property: all differences are tried.
  public var hasTripleProductProperty: Bool {
    guard let (p, q, s) = lists else { return false }
    return Self.hasTripleProductProperty(group: group, rows: p, inner: q, columns: s)
  }

  /// Whether no wanted term meets another term than those wanted with it, counted in integers.
  ///
  /// This is exactness: ``error`` is 1 − Σ n²/N / t³ with Σ n = t³, so it is 0 iff n = N wherever
  /// n > 0. For lists it is the triple product property.
  public var isExact: Bool {
    let (terms, wanted) = counts(sums: group.sumTable())
    return wanted.enumerated().allSatisfy { place, count in
      count == 0 || count == terms[place / (tile * tile)]
    }
  }

  /// The counts (terms N at every element, wanted terms n at every element and for every c).
  func counts(sums: [Int]) -> (terms: [Int], wanted: [Int]) {
    let area = tile * tile
    var terms = [Int](repeating: 0, count: group.order)
    var wanted = [Int](repeating: 0, count: group.order * area)
    for a in 0..<area {
      for b in 0..<area {
        let g = sums[activation[a] * group.order + weight[b]]
        terms[g] += 1
        if a % tile == b / tile { wanted[g * area + a / tile * tile + b % tile] += 1 }
      }
    }
    return (terms, wanted)
  }

  /// The relative squared error with optimal read-out: 1 − Σ n²/N / t³.
  public var error: Double { error(sums: group.sumTable()) }

  func error(sums: [Int]) -> Double {
    let area = tile * tile
    let (terms, wanted) = counts(sums: sums)
    var explained = 0.0
    for g in 0..<group.order where terms[g] > 0 {
      var squares = 0
      for c in 0..<area { squares += wanted[g * area + c] * wanted[g * area + c] }
      explained += Double(squares) / Double(terms[g])
    }
    return 1 - explained / Double(tile * area)
  }

  /// The placement as an encoder: the Fourier transform and its inverse folded into the tables.
  public var encoder: Encoder {
    let area = tile * tile
    let (terms, wanted) = counts(sums: group.sumTable())
    var (u, v, w): ([Double], [Double], [Double]) = ([], [], [])
    /// The read-out of real part and imaginary part of one Fourier coefficient, [t²] each.
    func readOut(_ character: Int, weight: Double) -> (real: [Double], imaginary: [Double]) {
      var real = [Double](repeating: 0, count: area)
      var imaginary = real
      for g in 0..<group.order where terms[g] > 0 {
        let value = group.character(character, at: g)
        for c in 0..<area where wanted[g * area + c] > 0 {
          let share = weight * Double(wanted[g * area + c]) / Double(terms[g])
          real[c] += share * value.real
          imaginary[c] += share * value.imaginary
        }
      }
      return (real, imaginary)
    }
    for character in 0..<group.order {
      let conjugate = group.inverse(character)
      let (x, y) = (
        activation.map { group.character(character, at: $0) },
        weight.map { group.character(character, at: $0) }
      )
      if conjugate == character {
        u += x.map(\.real)
        v += y.map(\.real)
        w += readOut(character, weight: 1 / Double(group.order)).real
      } else if conjugate > character {
        // Gauss: (a + ib)(c + id) from ac, bd and (a + b)(c + d). The conjugate adds the same again.
        let (real, imaginary) = readOut(character, weight: 2 / Double(group.order))
        u += x.map(\.real) + x.map(\.imaginary) + x.map { $0.real + $0.imaginary }
        v += y.map(\.real) + y.map(\.imaginary) + y.map { $0.real + $0.imaginary }
        w += zip(real, imaginary).map { $0 - $1 }
        w += zip(real, imaginary).map { -$0 - $1 }
        w += imaginary
      }
    }
    return Encoder(
      uncheckedName: "group-\(group)", tile: tile, rank: group.realRank, activation: u, weight: v,
      decoder: w,
      provenance: Encoder.Provenance(source: "embedding in the group algebra of \(group)"))
  }
}
