import MLX

/// Two factors in a row multiplied into one.
///
/// K₂ K₁ with patterns π₂ = (a₂, b₂, c₂, d₂) and π₁ = (a₁, b₁, c₁, d₁) has the support of one pattern,
/// (a₂, b₂ d₂/d₁, a₁ c₁/a₂, d₁), where a₂ divides a₁, d₁ divides d₂, and the blocks of K₂ meet those of K₁ in
/// as many inner indices, r, from both sides: c₂ a₂/a₁ = b₁ d₁/d₂ = r ("chainable" in Le et al. 2024, arXiv
/// 2411.04506). Each block of the product has rank r, and merging pays where the rows cost more than the
/// arithmetic: a butterfly of twelve factors with blocks of 2 × 2 is two of 64 × 64.
extension KroneckerPattern {
  /// How often the parts of a pair of chainable factors repeat: a₁ = a₂ p, d₂ = d₁ q, c₂ = p r, b₁ = r q.
  private struct Link {
    let p: Int, q: Int, r: Int
  }

  private func link(after first: KroneckerPattern) -> Link? {
    guard first.outputs == inputs, first.a.isMultiple(of: a), d.isMultiple(of: first.d)
    else { return nil }
    let (p, q) = (first.a / a, d / first.d)
    guard c.isMultiple(of: p), first.b.isMultiple(of: q) else { return nil }
    return Link(p: p, q: q, r: c / p)
  }

  /// The pattern of this factor's product with the one applied before it; `nil` where the product is not of
  /// one pattern.
  func after(_ first: KroneckerPattern) -> KroneckerPattern? {
    link(after: first).map { KroneckerPattern(a, b * $0.q, $0.p * first.c, first.d) }
  }

  /// The product's weight: with k₂ = u r + s, l₂ = v d₁ + l, i₁ = i p + u and j₁ = s q + v,
  /// w[i, j q + v, u c₁ + k, l] = Σ over s of w₂[i, j, u r + s, v d₁ + l] · w₁[i p + u, s q + v, k, l].
  ///
  /// Costs r multiply-adds a number. `nil` where ``after(_:)`` is.
  func weight(_ second: MLXArray, after first: KroneckerPattern, _ firstWeight: MLXArray)
    -> MLXArray?
  {
    guard let link = link(after: first) else { return nil }
    let (p, q, r) = (link.p, link.q, link.r)
    let left = second.reshaped([a, b, p, r, q, first.d]).transposed(0, 2, 4, 5, 1, 3)
    let right = firstWeight.reshaped([a, p, r, q, first.c, first.d])
      .transposed(0, 1, 3, 5, 2, 4)
    // [a, p, q, d₁, b₂, c₁]
    return matmul(left, right).transposed(0, 4, 2, 1, 5, 3)
      .reshaped([a, b * q, p * first.c, first.d])
  }
}
