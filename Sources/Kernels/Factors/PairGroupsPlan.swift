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
    let parts = ceilDivide(columnTiles, 12)
    let partTiles = roundUp(ceilDivide(columnTiles, parts), runTiles)
    return (
      pieces * windowSteps * jGroups * shape.rank * groupTiles * 256,
      outputPieces * chunks / 2 * parts * partTiles * 256
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
