import MLX
import OrderedCollections

/// One of the matrices that an operator multiplies by, seen as a dense map with a fan-in and a
/// fan-out of its own.
///
/// The structure-aware rules (Qiu et al. 2024, arXiv 2406.06248) follow from these.
public struct Core: Hashable, Sendable {
  /// The parameter's name.
  public var name: String
  /// Its shape in the canonical layout.
  public var shape: [Int]
  /// How many numbers one output of this core sums over.
  public var fanIn: Int
  /// How many outputs one input of this core reaches.
  public var fanOut: Int

  /// σ = √min(fanIn, fanOut) / fanIn, the standard deviation of initial values: unit variance in
  /// gives variance min(1, fanOut / fanIn) out.
  public var deviation: Double { Double(min(fanIn, fanOut)).squareRoot() / Double(fanIn) }

  /// The numbers stored.
  public var count: Int { shape.reduce(1, *) }
}

/// A linear operator whose trained parameters are its cores.
public protocol CoreProduct: LinearOperator {
  /// The cores, in canonical order.
  var cores: [Core] { get }
}

extension CoreProduct {
  /// The shapes of the cores.
  public var shapes: OrderedDictionary<String, [Int]> {
    OrderedDictionary(uniqueKeysWithValues: cores.map { ($0.name, $0.shape) })
  }

  /// Normal values with each core's ``Core/deviation``.
  public func initialize(key: MLXArray) -> Parameters { initialCores(key: key) }

  /// κ = K / (fanIn · number of cores) for each core: the sum over the cores keeps the update of
  /// the features at the dense layer's size.
  public var learningRateMultipliers: OrderedDictionary<String, Double> { coreMultipliers }

  func initialCores(key: MLXArray) -> Parameters {
    let keys = MLXRandom.split(key: key, into: max(2, cores.count))
    return Parameters(
      uniqueKeysWithValues: zip(cores, keys).map { core, key in
        (core.name, MLXRandom.normal(core.shape, key: key) * core.deviation)
      })
  }

  var coreMultipliers: OrderedDictionary<String, Double> {
    let all = cores
    return OrderedDictionary(
      uniqueKeysWithValues: all.map {
        ($0.name, Double(inputs) / Double($0.fanIn * all.count))
      })
  }
}
