import Encoders
import MLX
import OrderedCollections

/// An algorithm made for layers that read the same input: query, key and value, or gate and up.
///
/// All of them have the same activation encoder, so that the input is encoded once
/// (``StrassenTile/encode(_:_:)``), and the same decoder; each has its own encoded weight. Encoder and
/// decoder are parameters like the weight: a module that holds them trains all three, or with its keys
/// `stl.encoder` and `stl.decoder` frozen the weight alone.
public struct LayerEncoders {
  /// The layers, which start from the encoder given.
  public var layers: [StrassenTile]
  /// The parameters of each layer.
  public var parameters: [Parameters]
  /// The parameters with the encoder given and only the weight fitted, in the same norm.
  public var startParameters: [Parameters]
  /// The relative error of each layer's output on the inputs behind the moment.
  public var errors: [Double]
  /// The same for ``startParameters``.
  public var startErrors: [Double]
  /// The share of white inputs in the norm of the fit, ``TileMoment/shrinkage()``.
  public var shrinkage: Double
  /// A sentence with numbers where the sample is too small to be trusted, or `nil`.
  public var warning: String?

  /// Fits activation encoder, decoder and encoded weights together by alternating least squares.
  ///
  /// The norm is that of the inputs behind the moment, mixed with white ones as far as the number of
  /// tiles asks for (``TileMoment/shrinkage()``): a weight has R·K/t unknowns an output tile, and a
  /// moment of fewer tiles leaves most of them open, so that a fit in its norm alone reproduces the
  /// sample and fails on every other input.
  ///
  /// - Parameters:
  ///   - weights: W [N, K] of each layer, the same K.
  ///   - moment: the inputs' tiles, cut as `rows` has them; of t rows for the encoder's tile t.
  ///   - encoder: the algorithm to start from.
  ///   - rows: which rows form a tile.
  ///   - alternations: how often decoder, encoder and weight are refitted in turn; 0 fits the weight
  ///     alone.
  ///   - shrinkage: the share of white inputs, or `nil` to derive it.
  ///
  /// Cost: an alternation is a fit of the weight, (R·K/t)³/3 multiply-adds up to 10 240 unknowns, and
  /// (R·t²)³/3 for the encoder.
  ///
  /// Throws ``StrassenTileError`` where an array has another shape or is not finite.
  public static func fit(
    _ weights: [MLXArray], moment: TileMoment, encoder: Encoder, rows: RowPolicy = .sequence,
    alternations: Int = 4, shrinkage: Double? = nil
  ) throws -> LayerEncoders {
    guard let first = weights.first else {
      return LayerEncoders(
        layers: [], parameters: [], startParameters: [], errors: [], startErrors: [], shrinkage: 0,
        warning: nil)
    }
    let (t, inputs) = (encoder.tile, first.dim(-1))
    for weight in weights {
      if let failure = weight.failure { throw failure }
      guard weight.ndim == 2, weight.dim(0) > 0, inputs > 0, weight.dim(1) == inputs else {
        throw StrassenTileError.shape("weights", expected: [-1, inputs], got: weight.shape)
      }
    }
    let layers = weights.map {
      StrassenTile(inputs: inputs, outputs: $0.dim(0), encoder: encoder, rows: rows)
    }
    let share = try shrinkage ?? moment.shrinkage()
    // Outputs that pad a layer to whole tiles are asked to be zero.
    let joint = concatenated(
      zip(weights, layers).map { weight, layer in
        paddedMatrix(weight.asType(.float32), layer.outputTiles * t, inputs)
      }, axis: 0)
    let whole = StrassenTile(
      inputs: inputs, outputs: joint.dim(0), encoder: encoder, rows: rows)
    func split(_ fitted: Parameters) throws -> [Parameters] {
      var first = 0
      return try layers.map { layer in
        defer { first += layer.outputTiles }
        var own = fitted
        own[StrassenTile.Name.weight] =
          fitted[StrassenTile.Name.weight]?[0..., first..<first + layer.outputTiles]
        try eval(Array(own.values))
        return own
      }
    }
    func errors(_ parameters: [Parameters]) throws -> [Double] {
      try zip(zip(layers, weights), parameters).map { pair, parameters in
        try pair.0.relativeError(
          parameters, FitTarget(weight: pair.1, tileMoment: moment.matrix))
      }
    }
    let problem = try TileProblem(
      whole, FitTarget(weight: joint, tileMoment: moment.mixed(share)))
    var tables = try problem.start()
    let start = try split(tables.parameters)
    try problem.alternate(&tables, times: alternations)
    let parameters = try split(tables.parameters)
    return LayerEncoders(
      layers: layers, parameters: parameters, startParameters: start,
      errors: try errors(parameters), startErrors: try errors(start), shrinkage: share,
      warning: warning(whole, tiles: moment.tiles, share: share))
  }

  private static func warning(_ layer: StrassenTile, tiles: Int, share: Double) -> String? {
    let unknowns = layer.rank * layer.inputTiles
    guard tiles < unknowns else { return nil }
    let mixed = (share * 100).rounded() / 100
    return "[fit] expected at least \(unknowns) tiles of inputs for \(unknowns) unknowns an output "
      + "tile, got \(tiles); the norm is mixed with a share of \(mixed) of white inputs, and the "
      + "error on other inputs will be above that on these: give more text."
  }
}
