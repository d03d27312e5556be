import CCPUKernels
import MLX

/// One factor of a chain: a sparse matrix made of equal dense blocks.
///
/// Over all blocks and outputs it computes
///
///     out[block + output] = Σ_inner w[block + output + inner] · in[block + inner]
///
/// where every index is a sum of steps along two axes. Block-diagonal matrices with any permutation
/// before or after, Kronecker-sparse factors and dense matrices all have this form.
public struct BlockFactor: Sendable {
  /// A loop: how often, and how far each turn goes in the weight, in what comes in and in what goes
  /// out.
  public struct Axis: Sendable, Hashable {
    /// How often.
    public var count: Int
    /// Steps.
    public var weight: Int, input: Int, output: Int

    /// Makes an axis.
    public init(_ count: Int, weight: Int, input: Int = 0, output: Int = 0) {
      (self.count, self.weight, self.input, self.output) = (count, weight, input, output)
    }

    /// A loop of one turn.
    public static let none = Axis(1, weight: 0)

    fileprivate var c: TesseraAxis {
      TesseraAxis(
        count: Int64(count), weight: Int64(weight), input: Int64(input), output: Int64(output))
    }
  }

  /// Two axes, the second one the faster.
  public typealias Axes = (Axis, Axis)

  /// Where the blocks are.
  public var blocks: Axes
  /// The rows of a block, and its columns.
  public var outputs: Axes, inner: Axes

  /// Describes a factor.
  public init(blocks: Axes = (.none, .none), outputs: Axes, inner: Axes) {
    (self.blocks, self.outputs, self.inner) = (blocks, outputs, inner)
  }

  fileprivate var c: TesseraBlockFactor {
    TesseraBlockFactor(
      blocks: (blocks.0.c, blocks.1.c), outputs: (outputs.0.c, outputs.1.c),
      inner: (inner.0.c, inner.1.c))
  }
}

/// A product of block factors on the CPU, float32, in one pass over the rows: what one factor gives the
/// next stays in cache, and permutations between factors cost nothing.
public struct FactorChainCPU: Sendable {
  private static let kernel = HostKernel("factor_chain") { tessera_chain($0, $1, $2, $3) }
  private static let gradient = HostKernel("factor_chain_gradient") {
    tessera_chain_gradient($0, $1, $2, $3)
  }

  private var problem: TesseraChain

  /// Factors, the first one applied first; `widths` are the numbers in a row before the first factor
  /// and after each, padding included.
  ///
  /// `nil` where the kernel does not do it: no factor or more than 16, no rows.
  public init?(
    rows: Int, inputs: Int, outputs: Int, widths: [Int], factors: [BlockFactor],
    level: CPU.Level = CPU.level, threads: Int = CPU.threads
  ) {
    guard rows > 0, (1...TESSERA_CHAIN_LIMIT).contains(factors.count),
      widths.count == factors.count + 1, (1...64).contains(threads),
      let first = widths.first, let last = widths.last, inputs <= first, outputs <= last
    else { return nil }
    problem = TesseraChain()
    problem.rows = Int64(rows)
    problem.inputs = Int64(inputs)
    problem.outputs = Int64(outputs)
    problem.count = Int32(factors.count)
    problem.level = level.c
    problem.threads = Int32(threads)
    withUnsafeMutableBytes(of: &problem.widths) { bytes in
      bytes.withMemoryRebound(to: Int64.self) { sizes in
        for (index, width) in widths.enumerated() { sizes[index] = Int64(width) }
      }
    }
    withUnsafeMutableBytes(of: &problem.factors) { bytes in
      bytes.withMemoryRebound(to: TesseraBlockFactor.self) { places in
        for (index, factor) in factors.enumerated() { places[index] = factor.c }
      }
    }
  }

  /// X [rows, K], the numbers of each factor, bias [N] → activation(Y + bias) [rows, N].
  ///
  /// The caller sees to shapes; all arrays are float32. There is no gradient.
  public func callAsFunction(
    _ x: MLXArray, weights: [MLXArray], bias: MLXArray? = nil,
    activation: KernelActivation = .none
  ) -> MLXArray {
    var problem = problem
    problem.has_bias = bias == nil ? 0 : 1
    problem.activation = activation.c
    return Self.kernel(
      problem, [x] + weights + [bias].compactMap(\.self),
      output: [Int(problem.rows), Int(problem.outputs)],
      scratch: tessera_chain_scratch(&problem))
  }

  /// The gradients of a product.
  public struct Gradients {
    /// That of X [rows, K].
    public var x: MLXArray
    /// That of each factor's numbers, in the shape of its array.
    public var weights: [MLXArray]
    /// That of what goes into the activation, [rows, N]: its sum over the rows is the bias'.
    public var outputs: MLXArray
  }

  /// X [rows, K], dY [rows, N], the numbers of each factor, bias [N] → the gradients.
  ///
  /// What the factors give each other is computed again. Costs two forward passes beside that; every
  /// sum over the rows is added in one order, whatever the threads are.
  public func gradients(
    _ x: MLXArray, _ dy: MLXArray, weights: [MLXArray], bias: MLXArray? = nil,
    activation: KernelActivation = .none
  ) -> Gradients {
    var problem = problem
    problem.activation = activation.c
    // Only an activation's derivative depends on the bias.
    let bias = activation == .none ? nil : bias
    problem.has_bias = bias == nil ? 0 : 1
    let arrays = Self.gradient(
      problem, [x, dy] + weights + [bias].compactMap(\.self),
      outputs: [[Int(problem.rows), Int(problem.inputs)]] + weights.map(\.shape)
        + (activation == .none ? [] : [[Int(problem.rows), Int(problem.outputs)]]),
      scratch: tessera_chain_gradient_scratch(&problem))
    return Gradients(
      x: arrays[0], weights: Array(arrays[1...weights.count]),
      outputs: activation == .none ? dy : arrays[weights.count + 1])
  }
}
