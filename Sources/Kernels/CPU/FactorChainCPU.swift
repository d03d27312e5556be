import CCPUKernels
import MLX

/// One factor of a chain, a sparse matrix made of equal dense blocks: for each block (b₀, b₁)
///
///     out[b₀ s₀ + b₁ s₁ + o sₒ] = Σ_k w[b₀ w₀ + b₁ w₁ + o wₒ + k w_k] · in[b₀ e₀ + b₁ e₁ + k e_k]
///
/// Block-diagonal matrices with any permutation before or after, Kronecker-sparse factors and dense
/// matrices all have this form.
public struct BlockFactor: Sendable, Hashable {
  /// Steps through an array: from block to block in either direction, and inside a block.
  public struct Strides: Sendable, Hashable {
    /// From b₀ to b₀ + 1, from b₁ to b₁ + 1, and from one place in a block to the next.
    public var block0: Int, block1: Int, inside: Int

    /// Makes strides.
    public init(_ block0: Int, _ block1: Int, _ inside: Int) {
      (self.block0, self.block1, self.inside) = (block0, block1, inside)
    }
  }

  /// How many blocks there are in either direction.
  public var blocks: (Int, Int) { (blocks0, blocks1) }
  private var blocks0: Int, blocks1: Int
  /// Rows o and columns k of a block.
  public var outputs: Int, inner: Int
  /// Steps through the weight, `inside` from o to o + 1, and from k to k + 1.
  public var weight: Strides, weightInner: Int
  /// Steps through what comes in, and what goes out.
  public var input: Strides, output: Strides

  /// Describes a factor.
  public init(
    blocks: (Int, Int), outputs: Int, inner: Int, weight: Strides, weightInner: Int,
    input: Strides, output: Strides
  ) {
    (blocks0, blocks1) = blocks
    (self.outputs, self.inner) = (outputs, inner)
    (self.weight, self.weightInner) = (weight, weightInner)
    (self.input, self.output) = (input, output)
  }

  /// The factor of the transposed matrix, on the same weight.
  public var transposed: BlockFactor {
    var result = self
    (result.outputs, result.inner) = (inner, outputs)
    (result.weight.inside, result.weightInner) = (weightInner, weight.inside)
    (result.input, result.output) = (output, input)
    return result
  }

  var c: TesseraBlockFactor {
    TesseraBlockFactor(
      blocks0: Int64(blocks0), blocks1: Int64(blocks1), outputs: Int64(outputs),
      inner: Int64(inner), w_b0: Int64(weight.block0), w_b1: Int64(weight.block1),
      w_o: Int64(weight.inside), w_k: Int64(weightInner), in_b0: Int64(input.block0),
      in_b1: Int64(input.block1), in_k: Int64(input.inside), out_b0: Int64(output.block0),
      out_b1: Int64(output.block1), out_o: Int64(output.inside))
  }
}

/// A product of block factors on the CPU, float32, in one pass over the rows: what one factor gives the
/// next stays in cache, and permutations between factors cost nothing.
public struct FactorChainCPU: Sendable {
  private static let kernel = HostKernel("factor_chain") { tessera_chain($0, $1, $2, $3) }

  private var problem: TesseraChain

  /// Factors, the first one applied first; `widths` are the numbers in a row before the first factor
  /// and after each, padding included.
  ///
  /// `nil` where the kernel does not do it: no factor or more than 16, no rows.
  public init?(
    rows: Int, inputs: Int, outputs: Int, widths: [Int], factors: [BlockFactor],
    activation: Activation = .identity, level: CPU.Level = CPU.level, threads: Int = CPU.threads
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
    problem.activation = activation.c
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

  /// X [rows, K], the numbers of each factor, bias [N] → Y [rows, N].
  ///
  /// The caller sees to shapes; all arrays are float32. There is no gradient.
  public func callAsFunction(
    _ x: MLXArray, weights: [MLXArray], bias: MLXArray? = nil
  ) -> MLXArray {
    var problem = problem
    problem.has_bias = bias == nil ? 0 : 1
    return Self.kernel(
      problem, [x] + weights + [bias].compactMap(\.self),
      output: [Int(problem.rows), Int(problem.outputs)],
      scratch: tessera_chain_scratch(&problem))
  }
}
