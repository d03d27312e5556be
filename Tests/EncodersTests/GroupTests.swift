import Encoders
import Testing

@Suite struct GroupTests {
  @Test(arguments: [[2, 2, 2, 2], [5, 5], [24], [3], [2, 6], []])
  func realRankCountsRealCharactersOnceAndComplexPairsThrice(_ factors: [Int]) throws {
    let group = try AbelianGroup(factors)
    let real = (0..<group.order).count { group.sum($0, $0) == 0 }
    #expect(group.realCharacterCount == real)
    #expect(group.realRank == real + 3 * (group.order - real) / 2)
  }

  @Test func groupLawHolds() throws {
    let group = try AbelianGroup([2, 6])
    for a in 0..<group.order {
      #expect(group.sum(a, 0) == a)
      #expect(group.sum(a, group.inverse(a)) == 0)
      for b in 0..<group.order {
        #expect(group.sum(a, b) == group.sum(b, a))
        #expect(group.sum(group.difference(a, b), b) == a)
      }
    }
  }

  @Test func realRanksAreThoseOfTheLiterature() throws {
    #expect(try AbelianGroup([24]).realRank == 35)
    #expect(try AbelianGroup([5, 5]).realRank == 37)
    #expect(try AbelianGroup.walshHadamard(exponent: 5).realRank == 32)
  }

  @Test func walshHadamardGroupWithTripleProductsIsExact() throws {
    let group = try AbelianGroup.walshHadamard(exponent: 6)
    let (p, q, s) = ([0, 1, 2, 3], [0, 4, 8, 12], [0, 16, 32, 48])
    #expect(
      GroupEmbedding.hasTripleProductProperty(group: group, rows: p, inner: q, columns: s))
    let embedding = try GroupEmbedding(group: group, rows: p, inner: q, columns: s)
    let encoder = embedding.encoder
    #expect(encoder.rank == 64 && encoder.tile == 4)
    #expect(abs(embedding.error) <= 1e-15 && encoder.error <= 1e-12)
    #expect(encoder.activation.allSatisfy { abs($0) == 1 })
  }

  @Test func overlappingSetsLackTheTripleProductProperty() throws {
    let group = try AbelianGroup.walshHadamard(exponent: 6)
    let (p, q, s) = ([0, 1, 2, 3], [0, 4, 8, 12], [0, 16, 32, 35])
    // 35 = 32 + 3, so p_3 − p_0 + s_2 − s_3 = 0.
    #expect(
      !GroupEmbedding.hasTripleProductProperty(group: group, rows: p, inner: q, columns: s))
    #expect(try GroupEmbedding(group: group, rows: p, inner: q, columns: s).error > 0)
  }

  /// Z2^s, one real and one complex pair of characters, and a mixed group.
  @Test(arguments: [[2, 2], [3], [4], [2, 3], [5]])
  func embeddingHasTheErrorOfItsEncoder(_ factors: [Int]) throws {
    let group = try AbelianGroup(factors)
    for seed in 1...3 as ClosedRange<UInt64> {
      let embedding = try GroupEmbedding.search(
        group: group, tile: 2, seed: seed, starts: 1, steps: Int(seed) * 5)
      let encoder = embedding.encoder
      #expect(encoder.rank == group.realRank)
      #expect(abs(embedding.error - encoder.error) <= 1e-12)
    }
  }

  @Test func readOutIsOptimalInARealGroup() throws {
    let group = try AbelianGroup.walshHadamard(exponent: 2)
    let embedding = try GroupEmbedding(
      group: group, rows: [0, 1], inner: [0, 2], columns: [0, 1])
    #expect(embedding.error > 0.1)
    #expect(abs(embedding.encoder.optimallyDecoded.error - embedding.error) <= 1e-12)
  }

  @Test func freeReadOutOfComplexProductsIsNoWorse() throws {
    let group = try AbelianGroup([3])
    let embedding = try GroupEmbedding(
      group: group, rows: [0, 1], inner: [0, 2], columns: [0, 1])
    // Rank 4 over the reals, but a group algebra of dimension 3.
    #expect(embedding.encoder.optimallyDecoded.error < embedding.error - 1e-3)
  }

  @Test func searchFindsTheExactPlacementOfTwoByTwoTiles() throws {
    let group = try AbelianGroup.walshHadamard(exponent: 3)
    let embedding = try GroupEmbedding.search(
      group: group, tile: 2, seed: 1, starts: 20, steps: 60)
    #expect(abs(embedding.error) <= 1e-15)
  }

  @Test func comparisonReportsTheKeepLine() throws {
    let group = try AbelianGroup.walshHadamard(exponent: 2)
    let row = try #require(
      try GroupEmbedding.comparison(groups: [group], tile: 2, seed: 1, starts: 4, steps: 40).first)
    #expect(row.family == "Z2xZ2" && row.rank == 4 && row.order == 4)
    #expect(row.keepError == 0.5 && row.refinedError == nil)
    // No better than keeping products: the untrained base line that the library must beat.
    #expect(row.error >= 0.5 - 1e-12)
  }

  @Test func wrongGroupsAndPlacementsAreRefused() throws {
    #expect(throws: EncoderError.self) { try AbelianGroup([1]) }
    #expect(throws: EncoderError.self) { try AbelianGroup([64, 65]) }
    #expect(throws: EncoderError.self) { try AbelianGroup.walshHadamard(exponent: -1) }
    let group = try AbelianGroup([3])
    #expect(throws: EncoderError.self) {
      try GroupEmbedding(group: group, rows: [0, 3], inner: [0, 1], columns: [0, 1])
    }
    #expect(throws: EncoderError.self) {
      try GroupEmbedding(group: group, rows: [0, 1], inner: [0], columns: [0, 1])
    }
    #expect(throws: EncoderError.self) {
      try GroupEmbedding.search(group: group, tile: 2, seed: 1, starts: 0)
    }
  }

  /// Every three lists of two elements in small groups: counting collisions and trying differences
  /// come to the same, and so does the error.
  @Test(arguments: [[8], [2, 2, 2], [2, 4], [9]])
  func exactnessIsTheTripleProductProperty(_ factors: [Int]) throws {
    let group = try AbelianGroup(factors)
    var exact = 0
    for code in 0..<group.order * group.order * group.order {
      let (p, q, s) = (
        [0, code % group.order], [0, code / group.order % group.order],
        [0, code / group.order / group.order]
      )
      let embedding = try GroupEmbedding(group: group, rows: p, inner: q, columns: s)
      let lists = try #require(embedding.lists)
      #expect(lists.rows == p && lists.inner == q && lists.columns == s)
      let property = GroupEmbedding.hasTripleProductProperty(
        group: group, rows: p, inner: q, columns: s)
      #expect(embedding.hasTripleProductProperty == property)
      #expect(embedding.isExact == property && (embedding.error < 1e-12) == property)
      exact += property ? 1 : 0
    }
    // Cohn and Umans: it takes 2·2·2 elements, and both of order 8 and more have such lists.
    #expect(exact > 0)
  }

  @Test func placementsOfAnotherFormHaveNoLists() throws {
    let group = try AbelianGroup([5])
    let embedding = try GroupEmbedding(
      group: group, tile: 2, activation: [0, 1, 2, 4], weight: [0, 0, 0, 0])
    #expect(embedding.lists == nil && !embedding.hasTripleProductProperty && !embedding.isExact)
  }

  /// Fewer than t³ elements never suffice in an abelian group (Cohn, Umans 2003, lemma 3.1).
  @Test(arguments: [[7], [5], [2, 3], [2, 2]])
  func smallAbelianGroupsHaveNoTripleProducts(_ factors: [Int]) throws {
    let group = try AbelianGroup(factors)
    for code in 0..<group.order * group.order * group.order {
      #expect(
        !GroupEmbedding.hasTripleProductProperty(
          group: group, rows: [0, code % group.order],
          inner: [0, code / group.order % group.order],
          columns: [0, code / group.order / group.order]))
    }
  }
}
