import Encoders
import Glibc
import MLX
import OrderedCollections

extension StrassenTile {
  /// Parameters for training from scratch: the layer nearest to a random dense one, scaled to its
  /// output variance.
  ///
  /// A dense W with variance 1/K gives outputs of variance 1 from white inputs of variance 1. The
  /// weight that is best for white inputs (``fit(_:alternations:)``) is an orthogonal projection, and
  /// keeps the share ε = tr(Vᵀ G V) / t³ of that variance, with V = G⁻¹ C; so it is divided by √ε.
  /// Starting near a product of matrices, rather than with random planes, is the initialisation that
  /// the paper calls decisive, and leaves little mixing of rows at the start.
  ///
  /// Only a scale per plane is left to choose, as U_p, w_p and D_p multiply: encoder rows of norm
  /// about 1 keep the variance of the inputs in the planes, and Σ_l w² of about 1 keeps it in the
  /// products. The scales are powers of two, so an exact algorithm stays exact in every type.
  public func initialize(key: MLXArray) -> Parameters {
    do {
      let (u, d) = (table(encoder.activation), table(encoder.decoder))
      let encoding = try whiteEncoding(encoder: u, decoder: d)
      let explained =
        try sum(encoding * sameRow(Tables(weight: u, encoder: u, decoder: d))).item(Float.self)
        / Float(tile * tile * tile)
      let deviation = 1 / (Double(explained) * Double(inputs)).squareRoot()
      let tiles = MLXRandom.normal(
        [tile * tile, outputTiles * inputTiles], scale: Float(deviation), key: key)
      let planes = matmul(encoding, tiles).reshaped(rank, outputTiles, inputTiles)
      let inward = try powersOfTwo(1 / norm(u, axes: [1]))
      let through = try powersOfTwo(
        1 / (norm(encoding, axes: [1]) * (deviation * Double(inputTiles).squareRoot())))
      return [
        Name.weight: planes * through.reshaped(rank, 1, 1),
        Name.encoder: u * inward,
        Name.decoder: d / (inward * through),
      ]
    } catch {
      return shapes.mapValues { _ in MLXArray(failure: MLXError("\(error)")) }
    }
  }

  /// The powers of two nearest to positive numbers, [n, 1]; 1 for what is not finite.
  private func powersOfTwo(_ numbers: MLXArray) throws -> MLXArray {
    let powers = try numbers.asArray(Double.self).map { $0.isFinite ? exp2(rint(log2($0))) : 1 }
    return MLXArray(powers, [powers.count, 1])
  }

  /// Multiples of the Adam rate η of a dense layer of K inputs: `weight` t²/√R, `encoder`
  /// √K/(10 t), `decoder` √K/(10 √R).
  ///
  /// Adam moves each number by about η along the sign of its gradient. With unit planes as
  /// ``initialize(key:)`` makes them:
  ///
  /// * weight: an output tile's gradient g, entries of size 1, reaches z_p as ⟨D_p, g⟩ ~ ‖D_p‖ with
  ///   ‖D_p‖ ~ t/√R. A step ηm along the signs moves ŷ along g, per entry, by
  ///   ηm · K/t · Σ_p E|⟨D_p, g⟩| E|φ| / t² = (2/π) ηm K/t · √R/t. A dense layer's step moves it by
  ///   (2/π) η K. Equal steps need m = t²/√R (1 for t = R = 1).
  /// * encoder and decoder: every tile of the layer passes through the same few numbers, so they move
  ///   slowly. A dense weight of size 1/√K changes by the share η√K in a step; the entries of the
  ///   encoder (size 1/t) and the decoder (size 1/√R) are let change by a tenth of that share. The
  ///   tenth is a judgement, the growth with K is not.
  public var learningRateMultipliers: OrderedDictionary<String, Double> {
    let (t, r, k) = (Double(tile), Double(rank), Double(inputs))
    return [
      Name.weight: t * t / r.squareRoot(),
      Name.encoder: k.squareRoot() / (10 * t),
      Name.decoder: (k / r).squareRoot() / 10,
    ]
  }
}
