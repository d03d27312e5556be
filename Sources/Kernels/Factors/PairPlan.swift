import MLX

/// How a cluster of blocks divides a pair: the constants of `Factors/PairShape.cuh` and
/// `Factors/Pair.cu`, whose static assertions hold them against the kernel's own.
public struct PairPlan: Hashable, Sendable, CustomStringConvertible {
  /// What it divides.
  public let shape: PairShape
  /// Blocks of a cluster.
  public let cluster: Int
  /// Blocks of 16 rows in a step.
  public let rowBlocks: Int
  /// Steps whose rows of x are on their way, and whose intermediate is.
  public let stages: Int, buffers: Int
  /// Whether rows of x begin at multiples of 16 bytes, piece by piece.
  public let isBulk: Bool

  /// Shared memory that a block of the kernels may have (Hopper and later).
  static let sharedLimit = 232_448
  /// Registers of a thread that hold the cores.
  static let coreRegisters = 64

  /// Inner indices of a block.
  var inner: Int { ceilDivide(shape.m1, cluster) * shape.rank }
  /// Groups of eight inner indices in an intermediate row of one output piece.
  var chunks: Int { roundUp(cluster * ceilDivide(inner, 8), 2) }
  var outputPieces: Int { ceilDivide(shape.n0, cluster) }
  /// Words of both cores as one block reads them.
  var partWords: Int {
    64
      * (inner * ceilDivide(shape.n0, 8) * ceilDivide(shape.m0, 16)
        + outputPieces * columnTiles * (chunks / 2))
  }

  /// How often the warps of the second product take turns with parts of so many tiles.
  private func turns(_ tiles: Int) -> Int {
    ceilDivide(outputPieces * ceilDivide(columnTiles, tiles), 8)
  }

  /// Tiles of eight outputs that a warp takes at a time: the most whose operands fit its registers.
  var partTiles: Int? {
    var best: Int?
    for tiles in [8, 4, 2, 1] where tiles % runTiles == 0 {
      guard turns(tiles) * tiles * chunks <= PairPlan.coreRegisters else { continue }
      if best.map({ ceilDivide(columnTiles, tiles) == ceilDivide(columnTiles, $0) }) ?? true {
        best = tiles
      }
    }
    return best
  }

  /// Bytes of shared memory of a block.
  var sharedBytes: Int {
    let rows = 16 * rowBlocks
    let z = outputPieces * (chunks * rows * 16 + 16)
    let units = ceilDivide(shape.m1, cluster) * roundUp(shape.m0, 8) / 8
    let x = rows * ((units + 1) / 2 * 32 + 16)
    return roundUp(buffers * z + stages * x, 16) + 16 * (stages + buffers)
  }

  /// Matrix instructions of a warp of each product in 16 rows.
  private var instructions: (first: Int, second: Int) {
    (
      ceilDivide(ceilDivide(inner, 8) * ceilDivide(shape.n0, 8), 8) * 8 * ceilDivide(shape.m0, 16),
      partTiles.map { turns($0) * $0 * chunks / 2 } ?? .max
    )
  }

  /// Whether the cores fit the registers, the buffers the shared memory, and every block has pieces.
  var fits: Bool {
    !hasIdleBlocks && partTiles != nil && 2 * instructions.first <= PairPlan.coreRegisters
      && sharedBytes <= PairPlan.sharedLimit
  }

  /// The plan for a pair, `nil` where the cores do not fit the registers of a cluster of eight: the
  /// smallest cluster that holds them, then as many buffers as there is room for.
  public static func named(_ shape: PairShape) -> PairPlan? {
    guard [shape.m0, shape.m1, shape.n0, shape.n1, shape.rank].allSatisfy({ $0 > 0 }),
      shape.intermediates <= 1 << 16
    else { return nil }
    // Whole pieces of 16 bytes follow each other, so rows begin at such multiples too.
    let isBulk = shape.m0 % 8 == 0
    for cluster in [1, 2, 4, 8] {
      for rowBlocks in [1, 2] {
        var best: PairPlan?
        for stages in isBulk ? [3, 4, 2] : [1] {
          for buffers in [4, 3, 2] {
            let plan = PairPlan(
              shape: shape, cluster: cluster, rowBlocks: rowBlocks, stages: stages,
              buffers: buffers, isBulk: isBulk)
            guard plan.fits else { continue }
            if best.map({ plan.isDeeper(than: $0) }) ?? true { best = plan }
          }
        }
        if let best { return best }
      }
    }
    return nil
  }

  private func isDeeper(than other: PairPlan) -> Bool {
    (min(stages, 3), buffers, -stages) > (min(other.stages, 3), other.buffers, -other.stages)
  }

  /// Seconds expected for so many rows.
  ///
  /// A cluster takes step after step; a step costs its matrix instructions, what its blocks hand each
  /// other and themselves, what they load and store, and a fixed time. The four rates are fitted to the 28 pairs of
  /// benchmarks/factors-h200.json from 2048 rows on: a tenth off on average.
  public func seconds(rows: Int, gpu: GPU) -> Double {
    let clusters = max(1, gpu.residentClusters(of: cluster))
    let turns = Double(ceilDivide(ceilDivide(rows, 16 * rowBlocks), clusters) * rowBlocks)
    let (first, second) = instructions
    let exchanged = outputPieces * chunks * 256
    let moved = 32 * (outputPieces * shape.n1 + ceilDivide(shape.m1, cluster) * shape.m0)
    let step =
      Double(first + second) * 8.3e-9 + Double(exchanged) * 16e-12 + Double(moved) * 24e-12
      + 0.115e-6
    return 5.2e-6 + turns * step
  }

  /// `c8 r16 x3 z4`: cluster, rows of a step, stages and buffers.
  public var description: String { "c\(cluster) r\(16 * rowBlocks) x\(stages) z\(buffers)" }
}

extension PairPlan: PairDivision {
  static let product = (file: "Pair", role: "pair")
  static let packing = (file: "PairPack", role: "pair_pack")

  var stepRows: Int { 16 * rowBlocks }
  var words: Int { cluster * partWords }
  var takesMaps: Bool { false }

  func keptShape(rows: Int) -> [Int] { [rows, shape.n0 * paddedInner] }

  func keptBlocks(_ z: MLXArray) -> FactorKernels.Blocks {
    .init(z, size: paddedInner, kept: inner, of: roundUp(inner, 8), outer: paddedInner)
  }

  func productOptions(_ epilogue: FactorEpilogue) -> [String: Int] {
    [
      "ROW_BLOCKS": rowBlocks, "X_STAGES": stages, "Z_BUFFERS": buffers, "X_BULK": isBulk ? 1 : 0,
      "PART_TILES": partTiles ?? 1,
    ]
  }
}

extension GPU {
  /// Clusters of so many blocks of one multiprocessor each that are resident together.
  ///
  /// From four blocks on some multiprocessors are left over, since a cluster lies in one of the GPU's
  /// processing clusters (H200: 132, 66, 30, 15).
  func residentClusters(of size: Int) -> Int {
    size <= 2 ? multiprocessors / size : multiprocessors * 11 / 12 / size
  }
}
