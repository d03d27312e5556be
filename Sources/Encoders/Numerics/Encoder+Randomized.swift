/// The expected squared error of a product whose operands are randomised by signs and permutations.
///
/// For any two fixed matrices A [M, K] and B [K, N], with C = A·B and expectation over the signs and
/// permutations of ``Encoder/randomizedError(rows:inner:columns:)``,
///
///     E‖C − Ĉ‖² = product · ‖C‖² + operands · ‖A‖² ‖B‖² + terms · Σ_k ‖A[:, k]‖² ‖B[k, :]‖²
///
/// in Frobenius norms: whatever other structure A and B have plays no part.
public struct RandomizedError: Sendable, Hashable {
  /// The factor of ‖A·B‖².
  public var product: Double
  /// The factor of ‖A‖² ‖B‖².
  public var operands: Double
  /// The factor of Σ_k ‖A[:, k]‖² ‖B[k, :]‖².
  public var terms: Double

  /// E‖C − Ĉ‖² from the three squared norms.
  public func expected(product: Double, operands: Double, terms: Double) -> Double {
    self.product * product + self.operands * operands + self.terms * terms
  }
}

extension Encoder {
  /// How much of the wanted terms the algorithm carries on average, ⟨T, Σ u⊗v⊗w⟩ / t³.
  ///
  /// It is 1 for an exact algorithm and 1 − ``error`` with the best decoder: a least squares
  /// approximation is too small by the energy that it misses.
  public var gain: Double { overlap / Double(classicalRank) }

  /// The algorithm with its decoder divided by ``gain``, so that its mean over random signs and
  /// permutations of the operands is the product itself; nil if it carries nothing.
  ///
  /// With the best decoder the error e becomes e / (1 − e): that is what being unbiased costs.
  public var unbiased: Encoder? {
    let gain = gain
    guard gain > 1e-12 else { return nil }
    var result = self
    result.decoder = decoder.map { $0 / gain }
    result.name += "-unbiased"
    return result
  }

  /// The error law of products of [M, K] by [K, N] under random signs and permutations.
  ///
  /// Rows of A, columns of B and the shared index, each padded to whole tiles, are permuted uniformly
  /// and multiplied by independent uniform signs before the algorithm, and put back after it.
  ///
  /// *Proof.* Let F = T − Σ u⊗v⊗w, and let output (r, s) of a tile be wrong by
  /// Σ F[(a, k), (k′, b), (r, s)] A[a, k] B[k′, b] over the places of its row a, column b and inner
  /// tile. In the square, the signs of rows and columns leave only pairs with equal a and equal b,
  /// and those of the shared index only k = k′ in both factors, or the same (k, k′), or (k, k′)
  /// exchanged. A permutation puts each row, column and index at every place of a tile equally often,
  /// and an ordered pair of different indices at two given places of one tile with probability
  /// 1 / (t (K′ − 1)) an inner tile's place pair, K′ being K padded. Summing x_k = A[a, k] B[k, b]
  /// with these weights gives, with Q the mean of F² and P that of (Σ_q F / t)² over the places with
  /// k = k′, I and S the sums of F² and of F times F exchanged over the others,
  ///
  ///     Q Σ x_k² + (K′ P − Q) / (K′ − 1) (C² − Σ x_k²)
  ///       + (I (‖A[a]‖² ‖B[b]‖² − Σ x_k²) + S (C² − Σ x_k²)) / (t (K′ − 1))
  ///
  /// for each row a and column b, and the sum over them is the law. An output counts if it is no
  /// padding: its own row and column are not, another row of the tile is with probability
  /// (M − 1) / (M′ − 1). For isotropic operands the law gives ``error`` again, as ‖A‖²‖B‖² / K, ‖C‖²
  /// and Σ_k are then equal in the mean.
  ///
  /// - Complexity: O(R t⁶).
  public func randomizedError(rows: Int, inner: Int, columns: Int) -> RandomizedError {
    let residual = residualTensor
    let area = tileArea
    let t = Double(tile)
    func padded(_ size: Int) -> Double { Double((size + tile - 1) / tile * tile) }
    /// The probability that another place of a tile is no padding.
    func isReal(_ size: Int) -> Double {
      padded(size) > 1 ? Double(size - 1) / (padded(size) - 1) : 0
    }
    let (rowShare, columnShare) = (isReal(rows), isReal(columns))
    var (q, p, i, s) = (0.0, 0.0, 0.0, 0.0)
    for a in 0..<tile {
      for b in 0..<tile {
        for c in 0..<area {
          let weight = (c / tile == a ? 1 : rowShare) * (c % tile == b ? 1 : columnShare)
          func entry(_ k: Int, _ l: Int) -> Double {
            residual[((a * tile + k) * area + l * tile + b) * area + c]
          }
          var sum = 0.0
          for k in 0..<tile {
            sum += entry(k, k)
            q += weight * entry(k, k) * entry(k, k)
            for l in 0..<tile where l != k {
              i += weight * entry(k, l) * entry(k, l)
              s += weight * entry(k, l) * entry(l, k)
            }
          }
          p += weight * sum * sum
        }
      }
    }
    q /= t * t * t
    p /= t * t * t * t
    i /= t * t
    s /= t * t
    let width = padded(inner)
    // A single index has no pairs.
    guard width > 1 else { return RandomizedError(product: 0, operands: 0, terms: q) }
    let pairs = (width * p - q) / (width - 1)
    let together = 1 / (t * (width - 1))
    return RandomizedError(
      product: pairs + together * s, operands: together * i,
      terms: q - pairs - together * (i + s))
  }

  /// T − Σ_p u_p ⊗ v_p ⊗ w_p, [t², t², t²] row-major.
  private var residualTensor: [Double] {
    let area = tileArea
    var residual = [Double](repeating: 0, count: area * area * area)
    for a in 0..<area {
      for b in 0..<area {
        let base = (a * area + b) * area
        if a % tile == b / tile { residual[base + a / tile * tile + b % tile] = 1 }
        for p in 0..<rank {
          let product = activation[p * area + a] * weight[p * area + b]
          guard product != 0 else { continue }
          for c in 0..<area { residual[base + c] -= product * decoder[p * area + c] }
        }
      }
    }
    return residual
  }
}
