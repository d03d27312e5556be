/// How a cluster of blocks divides a pair among Hopper's warpgroups: the constants of
/// `Factors/PairGroupsShape.cuh` and `Factors/PairGroups.cu`, whose static assertions hold them against
/// the kernel's own.
public struct PairGroupsPlan: Hashable, Sendable, CustomStringConvertible {
  /// What it divides.
  public let shape: PairShape
  /// Blocks of a cluster.
  public let cluster: Int
  /// Boxes of x (64 rows by 64 columns) and steps of the intermediate that there is room for.
  public let stages: Int, buffers: Int

  static let boxBytes = 8192

  private var pieces: Int { ceilDivide(shape.m1, cluster) }
  private var outputPieces: Int { ceilDivide(shape.n0, cluster) }
  /// Inner indices of a block.
  var inner: Int { pieces * shape.rank }
  /// Groups of eight inner indices in an intermediate row of one output piece.
  var chunks: Int { roundUp(cluster * ceilDivide(inner, 8), 2) }
  /// Boxes of x in a step.
  var boxes: Int { ceilDivide(pieces * shape.m0, 64) }
  /// Contraction steps that a piece touches, wherever it begins.
  private var windowSteps: Int {
    ceilDivide(16 - min(16, shape.m0 & -shape.m0) + shape.m0, 16)
  }
  /// The two warpgroups of the first product divide chunks, or tiles of eight j.
  private var jGroups: Int {
    ceilDivide(inner, 8) % 2 == 0 && ceilDivide(shape.n0, 8) <= 4 ? 1 : 2
  }
  private var groupTiles: Int { ceilDivide(ceilDivide(shape.n0, 8), jGroups) }
  /// Bytes of a block's cores.
  private var coreBytes: (first: Int, second: Int) {
    (
      pieces * windowSteps * jGroups * shape.rank * groupTiles * 256,
      outputPieces * chunks / 2 * columnTiles * 256
    )
  }

  /// Bytes of shared memory of a block.
  var sharedBytes: Int {
    let lines = ceilDivide(outputPieces * chunks / 2, 4)
    let cores = coreBytes.first + coreBytes.second
    return roundUp((buffers * lines + stages) * PairGroupsPlan.boxBytes + cores, 128) + 128
      + 16 * (stages + 2 * buffers) + 16
  }

  /// Whether the sums fit the registers, cores and buffers the shared memory, with the boxes of an
  /// instruction, and every block has pieces.
  var fits: Bool {
    let window = shape.m0 % 64 == 0 ? shape.m0 / 64 : ceilDivide(windowSteps + 3, 4)
    return !hasIdleBlocks && groupTiles <= 4 && stages > window
      && sharedBytes <= PairPlan.sharedLimit
  }

  /// `g c8 x4 z1`: cluster, stages and buffers.
  public var description: String { "g c\(cluster) x\(stages) z\(buffers)" }
}

extension PairGroupsPlan: PairDivision {
  static let product = (file: "PairGroups", role: "pair_groups")
  static let packing = (file: "PairGroupsPack", role: "pair_groups_pack")

  var stepRows: Int { 64 }
  var words: Int { cluster * (coreBytes.first + coreBytes.second) / 4 }
  var takesMaps: Bool { true }

  func productOptions(_ epilogue: FactorEpilogue) -> [String: Int] {
    [
      "X_STAGES": stages, "Z_BUFFERS": buffers, "TENSOR": pieces * shape.m0 % 8 == 0 ? 1 : 0,
      "EPILOGUE": epilogue.parts, "Y_ALIGNED": isOutputAligned ? 1 : 0,
    ]
  }
}

extension PairGroupsPlan {
  /// The plan for a pair, `nil` where the cores do not fit the shared memory of a cluster of eight.
  ///
  /// The smallest cluster that has room for a whole step of x, with two buffers where they fit beside it; else
  /// the largest cluster.
  public static func named(_ shape: PairShape) -> PairGroupsPlan? {
    guard [shape.m0, shape.m1, shape.n0, shape.n1, shape.rank].allSatisfy({ $0 > 0 }),
      shape.intermediates <= 1 << 16
    else { return nil }
    let plans = [1, 2, 4, 8].flatMap { cluster in
      [2, 1].compactMap { deepest(shape, cluster: cluster, buffers: $0) }
    }
    return plans.first { $0.stages >= $0.boxes } ?? plans.last
  }

  /// The plan with as many stages as there is room for, at most two steps of them.
  private static func deepest(_ shape: PairShape, cluster: Int, buffers: Int) -> PairGroupsPlan? {
    (2...16).reversed().lazy.map {
      PairGroupsPlan(shape: shape, cluster: cluster, stages: $0, buffers: buffers)
    }.first { $0.fits && $0.stages <= max(4, 2 * $0.boxes) }
  }

  /// Seconds expected for so many rows.
  ///
  /// A cluster takes step after step; a step costs what its blocks hand each other and themselves, and the matrix
  /// instructions of the second product. The three rates are fitted to the pairs of docs/log-gpu-factors.md at
  /// 25088 rows, those of rank 1 within 13 %.
  public func seconds(rows: Int, gpu: GPU) -> Double {
    let clusters = max(1, gpu.residentClusters(of: cluster))
    let turns = Double(ceilDivide(ceilDivide(rows, stepRows), clusters))
    let own = Double(outputPieces * ceilDivide(inner, 8) * stepRows * 16)
    let clocks = Double(outputPieces * columnTiles * chunks * 2)
    let step = own * Double(cluster - 1) * 38e-12 + own * 83e-12 + clocks * 2.02e-9
    return 9e-6 + (shape.rank == 1 ? 1 : 1.15) * turns * step
  }
}
