import RealModule

/// Alternating least squares for four encoders at once, one in each lane of a vector.
///
/// Minimises ‖T − Σ_p u_p ⊗ v_p ⊗ w_p‖² + Σ_p λ_p (‖u_p‖² + ‖v_p‖² + ‖w_p‖²) for each lane. With two
/// factors fixed the third solves a linear system whose matrix is [R, R], the elementwise product of
/// the Gram matrices of the other two (Kolda, Bader 2009, section 3.4). Fits from different starts
/// are independent, so the lanes never mix: the arithmetic vectorises without any shuffling, and
/// the result of a lane does not depend on its neighbours.
///
/// The decoder is stored transposed (column-major tiles). Then T is the trace of a product of three
/// matrices, invariant under a cyclic shift of the factors, and one update serves all three.
///
/// Sweeps are extrapolated as in Nesterov's method with a restart of a lane whose objective rises
/// (Mitchell, Ye, De Sterck 2020); a restarted lane does a plain sweep, which cannot rise.
final class LaneSolver {
  typealias Lane = SIMD4<Double>
  static let laneCount = Lane.scalarCount

  let tile: Int
  let rank: Int
  let width: Int

  /// The ridge λ on the factors.
  var ridge = Lane.zero
  /// The penalty μ on the noise gain.
  var noise = Lane.zero
  /// The objective, penalty included, after the latest accepted sweep.
  private(set) var objective = Lane(repeating: .infinity)

  /// The accepted factors U, V, Wᵀ, the sweep's new ones and the extrapolated ones, each [R, t²].
  private let accepted: Factors
  private let fresh: Factors
  private let ahead: Factors
  /// Gram matrices of the three new factors and the normal matrix, each [R, R].
  private let grams: [UnsafeMutableBufferPointer<Lane>]
  let normal: UnsafeMutableBufferPointer<Lane>
  let inverseDiagonal: UnsafeMutableBufferPointer<Lane>
  private var momentum = Lane.zero

  private struct Factors {
    let tables: [UnsafeMutableBufferPointer<Lane>]

    init(count: Int) { tables = (0..<3).map { _ in LaneSolver.allocate(count) } }

    func deallocate() { for table in tables { table.deallocate() } }
  }

  private static func allocate(_ count: Int) -> UnsafeMutableBufferPointer<Lane> {
    let buffer = UnsafeMutableBufferPointer<Lane>.allocate(capacity: count)
    buffer.initialize(repeating: .zero)
    return buffer
  }

  init(tile: Int, rank: Int) {
    self.tile = tile
    self.rank = rank
    width = tile * tile
    accepted = Factors(count: rank * width)
    fresh = Factors(count: rank * width)
    ahead = Factors(count: rank * width)
    grams = (0..<3).map { _ in Self.allocate(rank * rank) }
    normal = Self.allocate(rank * rank)
    inverseDiagonal = Self.allocate(rank)
  }

  deinit {
    accepted.deallocate()
    fresh.deallocate()
    ahead.deallocate()
    for gram in grams { gram.deallocate() }
    normal.deallocate()
    inverseDiagonal.deallocate()
  }

  // MARK: - Lanes in and out

  /// Puts a start into a lane; the objective is known after the next sweep.
  func load(_ encoder: Encoder, lane: Int) {
    precondition(encoder.tile == tile && encoder.rank == rank)
    for p in 0..<rank {
      for row in 0..<tile {
        for column in 0..<tile {
          let index = p * width + row * tile + column
          let transposed = p * width + column * tile + row
          ahead.tables[0][index][lane] = encoder.activation[index]
          ahead.tables[1][index][lane] = encoder.weight[index]
          ahead.tables[2][transposed][lane] = encoder.decoder[index]
        }
      }
    }
    for factor in 0..<3 {
      for index in 0..<rank * width {
        accepted.tables[factor][index][lane] = ahead.tables[factor][index][lane]
      }
    }
    objective[lane] = .infinity
    momentum[lane] = 0
  }

  /// The accepted factors of all lanes.
  func unload(provenance: Encoder.Provenance) -> [Encoder] {
    (0..<Self.laneCount).map { unload(lane: $0, provenance: provenance) }
  }

  /// The accepted factors of a lane.
  func unload(lane: Int, provenance: Encoder.Provenance) -> Encoder {
    var tables = [[Double]](repeating: Array(repeating: 0, count: rank * width), count: 3)
    for p in 0..<rank {
      for row in 0..<tile {
        for column in 0..<tile {
          let index = p * width + row * tile + column
          let transposed = p * width + column * tile + row
          tables[0][index] = accepted.tables[0][index][lane]
          tables[1][index] = accepted.tables[1][index][lane]
          tables[2][index] = accepted.tables[2][transposed][lane]
        }
      }
    }
    return Encoder(
      uncheckedName: "fit", tile: tile, rank: rank, activation: tables[0], weight: tables[1],
      decoder: tables[2], provenance: provenance)
  }

  /// Forgets the objective and the momentum, as needed after a change of a penalty.
  func restart() {
    objective = Lane(repeating: .infinity)
    momentum = .zero
    for factor in 0..<3 {
      _ = ahead.tables[factor].update(fromContentsOf: accepted.tables[factor])
    }
  }

  // MARK: - Sweeps

  /// One update of U, then V, then W in every lane, and the extrapolation for the next sweep.
  func sweep() {
    gram(ahead.tables[1], into: grams[1])
    gram(ahead.tables[2], into: grams[2])
    update(0, from: ahead.tables[1], ahead.tables[2])
    update(1, from: ahead.tables[2], fresh.tables[0])
    // The right-hand side of the last system gives ⟨T, approximation⟩ for the objective.
    let overlap = update(2, from: fresh.tables[0], fresh.tables[1])
    balance()
    let reached = evaluate(overlap: overlap)

    // A NaN counts as a rise.
    let improved = reached .<= objective
    momentum = Lane.zero.replacing(with: momentum + 1, where: improved)
    objective.replace(with: reached, where: improved)
    let step = momentum / (momentum + 3)
    for factor in 0..<3 {
      let (old, new, next) = (accepted.tables[factor], fresh.tables[factor], ahead.tables[factor])
      for index in 0..<rank * width {
        let kept = old[index].replacing(with: new[index], where: improved)
        next[index] = kept + step * (kept - old[index])
        old[index] = kept
      }
    }
  }

  /// Solves for one factor given the two that follow it cyclically; returns ⟨T, approximation⟩.
  @discardableResult
  private func update(
    _ factor: Int, from next: UnsafeMutableBufferPointer<Lane>,
    _ last: UnsafeMutableBufferPointer<Lane>
  ) -> Lane {
    let target = fresh.tables[factor]
    let (first, second) = (grams[(factor + 1) % 3], grams[(factor + 2) % 3])
    for p in 0..<rank {
      for q in 0...p {
        normal[p * rank + q] = first[p * rank + q] * second[p * rank + q]
      }
      normal[p * rank + p] = normal[p * rank + p] * (1 + noise) + ridge
    }
    rightHandSide(next, last, into: target)
    factorise()
    let overlap = solve(target)
    gram(target, into: grams[factor])
    return overlap
  }

  /// The rows (N_p L_p)ᵀ, where N_p and L_p are the two fixed factors' tiles.
  private func rightHandSide(
    _ next: UnsafeMutableBufferPointer<Lane>, _ last: UnsafeMutableBufferPointer<Lane>,
    into target: UnsafeMutableBufferPointer<Lane>
  ) {
    for p in 0..<rank {
      let base = p * width
      for i in 0..<tile {
        for j in 0..<tile {
          var sum = Lane.zero
          for l in 0..<tile { sum += next[base + i * tile + l] * last[base + l * tile + j] }
          target[base + j * tile + i] = sum
        }
      }
    }
  }

  /// The lower triangle of F Fᵀ.
  private func gram(
    _ table: UnsafeMutableBufferPointer<Lane>, into gram: UnsafeMutableBufferPointer<Lane>
  ) {
    for p in 0..<rank {
      let left = UnsafeMutableBufferPointer(rebasing: table[p * width..<(p + 1) * width])
      for q in 0...p {
        let right = UnsafeMutableBufferPointer(rebasing: table[q * width..<(q + 1) * width])
        var sum = Lane.zero
        for a in 0..<width { sum += left[a] * right[a] }
        gram[p * rank + q] = sum
      }
    }
  }

  /// The objective of the new factors: t³ − 2⟨T, ·⟩ + ‖·‖² + penalty.
  private func evaluate(overlap: Lane) -> Lane {
    var value = Lane(repeating: Double(tile * width)) - 2 * overlap
    for p in 0..<rank {
      for q in 0..<p {
        let index = p * rank + q
        value += 2 * grams[0][index] * grams[1][index] * grams[2][index]
      }
      let index = p * rank + p
      let (a, b, c) = (grams[0][index], grams[1][index], grams[2][index])
      value += (1 + noise) * (a * b * c) + ridge * (a + b + c)
    }
    return value
  }

  /// Scales every component to equal norms, which lowers the penalty and leaves the product alone.
  private func balance() {
    for p in 0..<rank {
      let index = p * rank + p
      let squares = [grams[0][index], grams[1][index], grams[2][index]]
      var target = Lane.zero
      let product = squares[0] * squares[1] * squares[2]
      for lane in 0..<Self.laneCount { target[lane] = Double.root(product[lane], 3) }
      for factor in 0..<3 {
        // Components at zero stay there.
        let ratio = (target / squares[factor]).replacing(with: 1, where: product .< 1e-60)
        let scale = ratio.squareRoot()
        for a in 0..<width { fresh.tables[factor][p * width + a] *= scale }
        grams[factor][index] = squares[factor] * ratio
        for q in 0..<p { grams[factor][p * rank + q] *= scale }
        for q in (p + 1)..<max(rank, p + 1) { grams[factor][q * rank + p] *= scale }
      }
    }
  }
}
