extension Encoder {
  /// Whether the algorithm multiplies matrices exactly.
  ///
  /// The error is computed by cancellation, to about 10⁻¹³; inexact algorithms start above 10⁻⁴.
  public var isExact: Bool { error < 1e-10 }

  /// The relative squared error ‖T − Σ_p u_p ⊗ v_p ⊗ w_p‖² / t³ of the product of random matrices.
  ///
  /// T is the matrix multiplication tensor. For independent zero-mean entries of equal variance,
  /// E‖AB − encoded‖² / E‖AB‖² is this number whatever the matrix sizes, since both sums run over
  /// the same products of entries and T has t³ ones. Keeping r of the t³ products gives 1 − r/t³.
  ///
  /// - Complexity: O(R² t²), through ‖Σ‖² = Σ_pq (u_p·u_q)(v_p·v_q)(w_p·w_q). Subtracting that from
  ///   t³ leaves about 10⁻¹³ of rounding; the value is not negative.
  public var error: Double {
    var norm = 0.0
    for p in 0..<rank {
      for q in 0..<p {
        norm +=
          2 * Self.dot(activation, p, q, tileArea) * Self.dot(weight, p, q, tileArea)
          * Self.dot(decoder, p, q, tileArea)
      }
      norm +=
        Self.dot(activation, p, p, tileArea) * Self.dot(weight, p, p, tileArea)
        * Self.dot(decoder, p, p, tileArea)
    }
    let cubed = Double(classicalRank)
    return max(0, (cubed - 2 * overlap + norm) / cubed)
  }

  /// ⟨T, Σ_p u_p ⊗ v_p ⊗ w_p⟩ = Σ_p ⟨U_p V_p, W_p⟩ with the rows read as t×t matrices.
  var overlap: Double {
    var sum = 0.0
    for p in 0..<rank {
      let base = p * tileArea
      for i in 0..<tile {
        for j in 0..<tile {
          var entry = 0.0
          for l in 0..<tile {
            entry += activation[base + i * tile + l] * weight[base + l * tile + j]
          }
          sum += entry * decoder[base + i * tile + j]
        }
      }
    }
    return sum
  }

  static func dot(_ table: [Double], _ p: Int, _ q: Int, _ width: Int) -> Double {
    var sum = 0.0
    for a in 0..<width { sum += table[p * width + a] * table[q * width + a] }
    return sum
  }

  /// The noise gain Σ_p ‖u_p‖² ‖v_p‖² ‖w_p‖² / t³.
  ///
  /// If every product carries an independent relative error of variance ε², the decoded tile carries
  /// this number times ε² relative to the exact product. It is 1 for the classical algorithm and
  /// does not depend on how a component is scaled.
  public var noiseGain: Double {
    var sum = 0.0
    for p in 0..<rank {
      sum +=
        Self.dot(activation, p, p, tileArea) * Self.dot(weight, p, p, tileArea)
        * Self.dot(decoder, p, p, tileArea)
    }
    return sum / Double(classicalRank)
  }

  /// The largest magnitude in the three tables.
  public var largestCoefficient: Double {
    var largest = 0.0
    for table in [activation, weight, decoder] {
      for entry in table { largest = max(largest, abs(entry)) }
    }
    return largest
  }

  /// The number of entries of the three tables that are not zero.
  public var nonZeros: Int {
    var count = 0
    for table in [activation, weight, decoder] { count += table.count { $0 != 0 } }
    return count
  }

  /// The share of the classical products that is computed, R/t³: the cost without encode and decode.
  public var productRatio: Double { Double(rank) / Double(classicalRank) }

  /// The parameters of an encoded weight over those of the weight, R/t².
  public var parameterRatio: Double { Double(rank) / Double(tileArea) }

  /// The multiply-adds of an encoded layer over those of the dense one, encode and decode counted.
  ///
  /// For X [M, K] and W [N, K] with an encoded weight made beforehand: R/t³ + R/N + R/K. Sizes are
  /// rounded up to whole tiles; M plays no part as every row pays the same.
  public func costRatio(inputs: Int, outputs: Int) -> Double {
    let tilesIn = (inputs + tile - 1) / tile
    let tilesOut = (outputs + tile - 1) / tile
    let products = Double(rank * tilesIn * tilesOut) / Double(tile)
    let coding = Double(rank * tile * (tilesIn + tilesOut))
    return (products + coding) / Double(inputs * outputs)
  }

  /// The multiply-adds when neither operand is encoded beforehand, over those of the dense product.
  ///
  /// For A [M, K] times B [K, N]: R/t³ + R/N + R/K + R/M.
  public func costRatio(rows: Int, inputs: Int, outputs: Int) -> Double {
    let tilesIn = (inputs + tile - 1) / tile
    let tilesOut = (outputs + tile - 1) / tile
    let weightCoding = Double(rank * tileArea * tilesIn * tilesOut)
    return costRatio(inputs: inputs, outputs: outputs)
      + weightCoding / (Double(rows) * Double(inputs) * Double(outputs))
  }
}
