/// Starting points of the search for an encoder of a given tile and rank, four at a time.
///
/// Random starts mostly end in poor local minima for tile 4 (they find little more than "keep r of
/// the t³ products"), so most starts carry structure: see ``Family``.
struct FitStart {
  /// The kinds of start.
  enum Family: String {
    /// Near-normal entries.
    case random
    /// Σ outer_p ⊗ inner_p of 2×2 optima with inner ranks that add up to the rank.
    case kronecker
    /// Random components of an exact algorithm.
    case pruned
    /// Components of an exact algorithm or of a Kronecker product of 2×2 optima removed one at a
    /// time, with least squares in between.
    case deflated
    /// A given encoder with components removed and random ones added.
    case adapted
  }

  let tile: Int
  let rank: Int

  /// The exact algorithms of this tile with more products than wanted.
  private let exact: [Encoder]

  init(tile: Int, rank: Int) {
    self.tile = tile
    self.rank = rank
    exact = ExactTable.library.filter { $0.tile == tile && $0.rank > rank }.map(\.encoder.balanced)
  }

  /// The families that exist for this tile and rank, in the order in which the search uses them.
  var families: [Family] {
    var families: [Family] = []
    if tile == 4, (8...48).contains(rank) { families += [.kronecker] }
    if !exact.isEmpty { families += [.deflated, .pruned] }
    if tile == 4, (8...48).contains(rank) { families += [.kronecker] }
    return families + [.random]
  }

  /// One start a lane; the same for the same state of the generator.
  ///
  /// `given` holds what ``Family/adapted`` starts from, of any rank.
  func make(
    _ family: Family, given: [Encoder] = [], using generator: inout SeededGenerator
  ) -> [Encoder] {
    if family == .deflated { return deflated(using: &generator) }
    return (0..<LaneSolver.laneCount).map { _ in
      switch family {
      case .kronecker: kronecker(using: &generator).perturbed(by: 0.05, using: &generator)
      case .pruned: pruned(using: &generator).perturbed(by: 0.05, using: &generator)
      case .adapted where !given.isEmpty:
        adapted(given[generator.index(below: given.count)], using: &generator)
      default: random(rank, using: &generator)
      }
    }
  }

  private func random(_ rank: Int, using generator: inout SeededGenerator) -> Encoder {
    .random("random", tile: tile, rank: rank, using: &generator)
  }

  private func pruned(using generator: inout SeededGenerator) -> Encoder {
    let table = exact[generator.index(below: exact.count)]
    return table.keeping(Array(generator.permutation(table.rank).prefix(rank)))
  }

  /// Drops up to three components, then drops or adds random ones to meet the rank, and perturbs.
  private func adapted(_ given: Encoder, using generator: inout SeededGenerator) -> Encoder {
    let kept = max(1, min(given.rank - 1 - generator.index(below: 3), rank))
    var result = given.keeping(Array(generator.permutation(given.rank).prefix(kept)))
    if kept < rank { result = result.appending(random(rank - kept, using: &generator)) }
    return result.perturbed(by: 0.05, using: &generator)
  }

  /// Removes a component, lets least squares repair the rest, and repeats down to the rank.
  ///
  /// Far from the rank any component may go, in the last steps one of the three of least energy.
  private func deflated(using generator: inout SeededGenerator) -> [Encoder] {
    let products = productsToDeflate
    let usesProduct = generator.index(below: 2) == 1 && !products.isEmpty
    let table =
      usesProduct
      ? products[generator.index(below: products.count)]
      : exact[generator.index(below: exact.count)]
    var lanes = (0..<LaneSolver.laneCount).map { _ in
      table.perturbed(by: 0.02, using: &generator)
    }
    for rank in stride(from: table.rank - 1, through: rank, by: -1) {
      let solver = LaneSolver(tile: tile, rank: rank)
      for (lane, current) in lanes.enumerated() {
        let order = (0...rank).sorted { current.energy($0) < current.energy($1) }
        let choices = rank > self.rank + 5 ? rank + 1 : min(3, rank + 1)
        let victim = order[generator.index(below: choices)]
        solver.load(current.keeping((0...rank).filter { $0 != victim }), lane: lane)
      }
      solver.ridge = LaneSolver.Lane(repeating: 3e-3)
      for _ in 0..<20 { solver.sweep() }
      lanes = solver.unload(provenance: table.provenance)
    }
    return lanes
  }

  // MARK: - Kronecker products of 2×2 optima

  /// The Kronecker products of 2×2 optima with up to ten components too many.
  private var productsToDeflate: [Encoder] {
    guard tile == 4 else { return [] }
    var products: [Encoder] = []
    for outer in 2...7 {
      for inner in 2...7 where (rank + 1...rank + 10).contains(outer * inner) {
        products.append(Self.optima[outer - 1].kronecker(Self.optima[inner - 1]))
      }
    }
    return products
  }

  /// Σ_p outer_p ⊗ inner_p with up to two components too many, which are dropped at random.
  ///
  /// All inner algorithms of one rank are the same: then the errors combine as in
  /// ``Encoder/kronecker(_:name:)``, while different ones would interfere.
  private func kronecker(using generator: inout SeededGenerator) -> Encoder {
    let wanted = min(49, rank + generator.index(below: 3))
    let outers = (2...7).filter { wanted <= 7 * $0 && wanted >= $0 }
    let outerRank = outers[generator.index(below: outers.count)]
    var innerRanks = [Int](repeating: wanted / outerRank, count: outerRank)
    for p in generator.permutation(outerRank).prefix(wanted % outerRank) { innerRanks[p] += 1 }
    for _ in 0..<generator.index(below: 3) {
      let (p, q) = (generator.index(below: outerRank), generator.index(below: outerRank))
      if p != q, innerRanks[p] < 7, innerRanks[q] > 1 {
        innerRanks[p] += 1
        innerRanks[q] -= 1
      }
    }
    let product = Encoder.kronecker(
      Self.optima[outerRank - 1], inners: innerRanks.map { Self.optima[$0 - 1] }, name: "",
      source: "Kronecker product of 2x2 optima")
    return product.keeping(Array(generator.permutation(wanted).prefix(rank)))
  }

  /// The best algorithms for tile 2 of ranks 1...7.
  private static let optima: [Encoder] = (1...7).map { rank in
    let known = try? Encoder.best(tile: 2, rank: rank)
    return (known ?? .keepingProducts(rank, tile: 2)).balanced
  }
}

extension Encoder {
  /// The algorithm with only some of its components, in the given order.
  func keeping(_ components: [Int]) -> Encoder {
    func pick(_ table: [Double]) -> [Double] {
      components.flatMap { table[$0 * tileArea..<($0 + 1) * tileArea] }
    }
    return Encoder(
      uncheckedName: name, tile: tile, rank: components.count, activation: pick(activation),
      weight: pick(weight), decoder: pick(decoder), provenance: provenance)
  }

  /// The sum of two algorithms for the same tile: all components of both.
  func appending(_ other: Encoder) -> Encoder {
    precondition(tile == other.tile)
    return Encoder(
      uncheckedName: name, tile: tile, rank: rank + other.rank,
      activation: activation + other.activation, weight: weight + other.weight,
      decoder: decoder + other.decoder, provenance: provenance)
  }

  /// The algorithm with near-normal noise of the given size on every entry.
  func perturbed(by size: Double, using generator: inout SeededGenerator) -> Encoder {
    var result = self
    for index in activation.indices {
      result.activation[index] += size * generator.nearNormal()
      result.weight[index] += size * generator.nearNormal()
      result.decoder[index] += size * generator.nearNormal()
    }
    return result
  }

  /// ‖u_p‖² ‖v_p‖² ‖w_p‖², the share of a component in the noise gain.
  func energy(_ p: Int) -> Double {
    let rows = p * tileArea..<(p + 1) * tileArea
    func square(_ table: [Double]) -> Double { table[rows].reduce(0) { $0 + $1 * $1 } }
    return square(activation) * square(weight) * square(decoder)
  }
}
