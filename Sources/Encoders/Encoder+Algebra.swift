import RealModule

extension Encoder {
  /// The same algorithm with ‖u_p‖ = ‖v_p‖ = ‖w_p‖ for every component p.
  ///
  /// Scaling u, v, w of a component by factors with product 1 changes neither the error nor the
  /// noise gain, but this choice minimises ‖u‖² + ‖v‖² + ‖w‖² and keeps the encoded operands in
  /// range. A component with a zero row contributes nothing and is set to zero.
  public var balanced: Encoder {
    var result = self
    for p in 0..<rank {
      let rows = p * tileArea..<(p + 1) * tileArea
      func norm(_ table: [Double]) -> Double {
        table[rows].reduce(0) { $0 + $1 * $1 }.squareRoot()
      }
      let (u, v, w) = (norm(activation), norm(weight), norm(decoder))
      let target = Double.root(u * v * w, 3)
      for a in rows {
        result.activation[a] = target > 0 ? activation[a] * (target / u) : 0
        result.weight[a] = target > 0 ? weight[a] * (target / v) : 0
        result.decoder[a] = target > 0 ? decoder[a] * (target / w) : 0
      }
    }
    return result
  }

  /// The Kronecker product of two algorithms: tile t₁t₂, rank R₁R₂.
  ///
  /// The outer algorithm multiplies matrices of t₂×t₂ blocks, each block product is done by the
  /// inner one. For least-squares factors the errors combine as
  /// 1 − e = (1 − e₁)(1 − e₂).
  public func kronecker(_ inner: Encoder, name: String? = nil) -> Encoder {
    Encoder.kronecker(
      self, inners: Array(repeating: inner, count: rank),
      name: name ?? "\(self.name)-x-\(inner.name)",
      source: "Kronecker product of \(self.name) and \(inner.name)")
  }

  /// Σ_p outer_p ⊗ inners[p]: every outer component with an inner algorithm of its own.
  ///
  /// All inner algorithms have the same tile; the rank is the sum of theirs.
  static func kronecker(
    _ outer: Encoder, inners: [Encoder], name: String, source: String
  ) -> Encoder {
    precondition(inners.count == outer.rank)
    let innerTile = inners.first?.tile ?? 1
    precondition(inners.allSatisfy { $0.tile == innerTile })
    let rank = inners.reduce(0) { $0 + $1.rank }
    let tile = outer.tile * innerTile

    func combine(_ table: KeyPath<Encoder, [Double]>) -> [Double] {
      var result: [Double] = []
      result.reserveCapacity(rank * tile * tile)
      for (p, inner) in inners.enumerated() {
        for q in 0..<inner.rank {
          for row in 0..<tile {
            for column in 0..<tile {
              let outerEntry =
                p * outer.tileArea + row / innerTile * outer.tile + column / innerTile
              let innerEntry =
                q * inner.tileArea + row % innerTile * innerTile + column % innerTile
              result.append(outer[keyPath: table][outerEntry] * inner[keyPath: table][innerEntry])
            }
          }
        }
      }
      return result
    }

    return Encoder(
      uncheckedName: name, tile: tile, rank: rank, activation: combine(\.activation),
      weight: combine(\.weight), decoder: combine(\.decoder),
      provenance: Provenance(source: source))
  }
}
