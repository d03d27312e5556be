import Kernels
import MLX

/// Launches that depend on how MLX runs its graphs.
///
/// Products by kernels whose clusters differ, one after another, each in a graph of its own: MLX keeps the graph of
/// one to run the next, and the clusters have to be the next one's. And products of what does not lie contiguously.
enum LaunchCheck {
  private static let rows = 1000

  /// Clusters of eight, of two, of one, and none.
  static let products: [(step: FactorStep, method: FactorMethod)] = {
    func pair(_ side: Int) -> FactorStep {
      .pair(
        BlockPair(
          inputs: side * side, outputs: side * side, m0: side, m1: side, n0: side, n1: side,
          rank: 1))
    }
    return [
      (pair(64), .warpgroups), (.factor(KroneckerPattern(1, 64, 96, 24)), .kernel),
      (pair(16), .warpgroups), (.factor(KroneckerPattern(2, 128, 128, 6)), .kernel),
      (pair(64), .kernel), (.factor(KroneckerPattern(1, 192, 192, 32)), .warpgroups),
      (pair(32), .warpgroups), (.factor(KroneckerPattern(4, 96, 64, 1)), .strided),
    ]
  }()

  static func runs() throws -> [KernelCheck.Run] {
    let library = try KernelLibrary.current.get()
    let products = products.filter { $0.step.hasInstructions(for: $0.method, on: library.gpu) }
    return [("clusters that change", false), ("inputs that are transposed", true)].map {
      name, isTransposed in
      (name, { try run(products, name: name, isTransposed: isTransposed) })
    }
  }

  private static func run(
    _ products: [(step: FactorStep, method: FactorMethod)], name: String, isTransposed: Bool
  ) throws -> [KernelCheck.Item] {
    let operands = try products.map { item in
      let keys = MLXRandom.split(key: MLXRandom.key(UInt64(item.step.inputs)), into: 3)
      func draw(_ shape: [Int], _ key: Int, fanIn: Int = 1) -> MLXArray {
        (MLXRandom.normal(shape, key: keys[key]) / Double(fanIn).squareRoot()).asType(.bfloat16)
      }
      let weights = item.step.weights.enumerated().map { draw($1.shape, 1 + $0, fanIn: $1.fanIn) }
      let x =
        isTransposed
        ? draw([item.step.inputs, rows], 0).transposed(1, 0) : draw([rows, item.step.inputs], 0)
      let prepared = item.step.prepare(item.method, weights, rows: rows, dtype: .bfloat16)
      try eval(weights + prepared + [x])
      return (x: x, weights: weights, prepared: prepared)
    }
    let rounds = try (0..<3).map { _ in
      try zip(products, operands).map { item, operands in
        let y = item.step.product(item.method, operands.x, prepared: operands.prepared)
        try y.eval()
        return y
      }
    }
    return try zip(products, operands).enumerated().map { index, pair in
      let (item, operands) = pair
      let plain = item.step.product(.composed, operands.x, operands.weights)
      try plain.eval()
      return try Device.withDefaultDevice(.cpu) {
        let exact = item.step.product(
          .composed, operands.x.asType(.float64), operands.weights.map { $0.asType(.float64) })
        return try KernelCheck.Item(
          name: name, what: "\(item.step.name) by \(item.method.rawValue)",
          rounds[2][index], others: [rounds[0][index], rounds[1][index]], plain: plain,
          exact: exact, floor: KernelCheck.Item.floor(of: .bfloat16))
      }
    }
  }
}
