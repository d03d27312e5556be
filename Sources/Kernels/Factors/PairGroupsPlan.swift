import Foundation
import Synchronization

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
  /// How many of three warpgroups do the first product, 1 or 2.
  public let firstGroups: Int
  /// Whether what goes to other blocks is gathered in places of its own and copied, not stored.
  public let hasPlaces: Bool

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
  /// Two warpgroups of the first product divide chunks, or tiles of eight j.
  private var jGroups: Int {
    ceilDivide(inner, 8) % 2 == 0 && ceilDivide(shape.n0, 8) <= 4 ? 1 : firstGroups
  }
  private var groupTiles: Int { ceilDivide(ceilDivide(shape.n0, 8), jGroups) }
  /// Bytes of a block's cores.
  private var coreBytes: (first: Int, second: Int) {
    let first =
      shape.isLowRank
      ? windowSteps * chunks : pieces * windowSteps * jGroups * shape.rank * groupTiles
    return (first * 256, outputPieces * chunks / 2 * columnTiles * 256)
  }

  /// The output pieces of a block are handed over in two halves where every block has both.
  private var halves: Int {
    outputPieces % 2 == 0 && shape.n0 - (cluster - 1) * outputPieces >= 2 ? 2 : 1
  }

  /// Bytes of a buffer of the intermediate, and of the places of what is sent.
  private var intermediateBytes: (buffer: Int, places: Int) {
    guard hasPlaces else {
      return (ceilDivide(outputPieces * chunks / 2, 4) * PairGroupsPlan.boxBytes, 0)
    }
    let column = stepRows * 16 + 16 * halves
    return (
      roundUp(chunks * outputPieces * column, 1024),
      ceilDivide(inner, 8) * jGroups * groupTiles * 8 * column
    )
  }

  /// Bytes of shared memory of a block.
  var sharedBytes: Int {
    let cores = coreBytes.first + coreBytes.second
    let (buffer, places) = intermediateBytes
    return roundUp(buffers * buffer + stages * PairGroupsPlan.boxBytes + cores + places, 128)
      + 128 + 16 * (stages + 2 * buffers + (hasPlaces ? 2 : 1))
  }

  /// Whether the sums fit the registers, cores and buffers the shared memory, with the boxes of an
  /// instruction, and every block has pieces, and every warpgroup that copies something of each step: one without
  /// would not keep up with the barriers.
  var fits: Bool {
    guard sharedBytes <= PairPlan.sharedLimit else { return false }
    if shape.isLowRank { return cluster == 1 && firstGroups == 1 && chunks <= 16 }
    if hasPlaces, cluster == 1 || jGroups > 1 && shape.n0 % 16 != 0 { return false }
    let window = shape.m0 % 64 == 0 ? shape.m0 / 64 : ceilDivide(windowSteps + 3, 4)
    return !hasIdleBlocks && groupTiles <= 4 && stages > window
  }

  /// `g c8 x4 z1 f2 p`: cluster, stages, buffers, warpgroups of the first product, whether there are places.
  public var description: String {
    "g c\(cluster) x\(stages) z\(buffers) f\(firstGroups)" + (hasPlaces ? " p" : "")
  }
}

extension PairGroupsPlan: PairDivision {
  static let product = (file: "PairGroups", role: "pair_groups")
  static let packing = (file: "PairGroupsPack", role: "pair_groups_pack")

  var stepRows: Int { 64 }
  var words: Int { cluster * (coreBytes.first + coreBytes.second) / 4 }
  var takesMaps: Bool { true }
  var packingOptions: [String: Int] {
    ["FIRST_GROUPS": firstGroups, "PLACES": hasPlaces ? 1 : 0]
  }

  func productOptions(_ epilogue: FactorEpilogue) -> [String: Int] {
    [
      "X_STAGES": stages, "Z_BUFFERS": buffers, "TENSOR": pieces * shape.m0 % 8 == 0 ? 1 : 0,
      "EPILOGUE": epilogue.parts, "Y_ALIGNED": isOutputAligned ? 1 : 0,
    ]
  }
}

extension PairGroupsPlan {
  private static let known = Mutex<[PairShape: PairGroupsPlan?]>([:])

  /// The plan for a pair, `nil` where the cores do not fit the shared memory of a cluster of eight: the one
  /// that is expected to be fastest for many rows on a GPU of 132 multiprocessors.
  ///
  /// Searched once for each shape.
  public static func named(_ shape: PairShape) -> PairGroupsPlan? {
    guard [shape.m0, shape.m1, shape.n0, shape.n1, shape.rank].allSatisfy({ $0 > 0 }),
      shape.intermediates <= 1 << 16
    else { return nil }
    if let plan = known.withLock({ $0[shape] }) { return plan }
    let h200 = GPU(
      major: 9, minor: 0, multiprocessors: 132, clock: 1.98e9, busBandwidth: 4.92e12,
      cache: 50 << 20)
    var best: (plan: PairGroupsPlan, seconds: Double)?
    for cluster in [1, 2, 4, 8] {
      for buffers in [2, 1] {
        for firstGroups in [1, 2] {
          for hasPlaces in [false, true] {
            let plan = deepest(
              shape, cluster: cluster, buffers: buffers, firstGroups: firstGroups,
              hasPlaces: hasPlaces)
            guard let plan else { continue }
            let seconds = plan.seconds(rows: 25088, gpu: h200)
            if seconds < best?.seconds ?? .infinity { best = (plan, seconds) }
          }
        }
      }
    }
    known.withLock { $0[shape] = .some(best?.plan) }
    return best?.plan
  }

  /// The plan with as many stages as there is room for, at most two steps of them.
  private static func deepest(
    _ shape: PairShape, cluster: Int, buffers: Int, firstGroups: Int, hasPlaces: Bool
  ) -> PairGroupsPlan? {
    (2...16).reversed().lazy.map {
      PairGroupsPlan(
        shape: shape, cluster: cluster, stages: $0, buffers: buffers, firstGroups: firstGroups,
        hasPlaces: hasPlaces)
    }.first { $0.fits && $0.stages <= max(4, 2 * $0.boxes) }
  }

  /// Seconds expected for so many rows.
  ///
  /// A cluster takes step after step, of three things that go on side by side: the first product with what it
  /// sends, the second with what it writes, device memory; where two are about as long they get in each other's
  /// way, and a step is longer where x comes in less than a step ahead. Fitted to 166 plans of 16 pairs at 25088
  /// rows (benchmarks/pair-plans-h200.json): 8 % off on average, the preferred plan 1 % slower than the best of
  /// each.
  public func seconds(rows: Int, gpu: GPU) -> Double {
    let clusters = max(1, gpu.residentClusters(of: cluster))
    let turns = Double(ceilDivide(ceilDivide(rows, stepRows), clusters))
    let innerChunks = ceilDivide(inner, 8)
    // Clocks that the matrix instructions read shared memory, A in 16 and a tile of B in 2.
    let span = [8, 4, 2, 1].first { shape.rank % $0 == 0 } ?? 1
    let instructions = ceilDivide(inner, span) * ceilDivide(shape.m0, 16) * jGroups
    let firstClocks =
      shape.isLowRank
      ? windowSteps * (16 + 2 * chunks) : instructions * (16 + 2 * span * groupTiles)
    let secondClocks = outputPieces * chunks / 2 * (16 + 2 * columnTiles)
    // In units of 1024 bytes.
    let sent = Double(outputPieces * innerChunks * (cluster - 1))
    let sending = hasPlaces ? sent * 34e-9 + 0.05e-6 : sent * 63.7e-9
    let written = Double(outputPieces * shape.n1) / 8
    let parts = [
      Double(firstClocks) * 1.65e-9 / Double(firstGroups) + sending,
      (Double(secondClocks) * 2.86e-9 + written * 10.4e-9) / Double(3 - firstGroups),
      Double(stepRows * 2 * (shape.inputs + shape.outputs) * clusters) / gpu.copyRate,
    ]
    let missing = 1 - min(1, Double(stages) / Double(boxes))
    let step = pow(parts.map { pow($0, 3.6) }.reduce(0, +), 1 / 3.6) + 0.08e-6
    return 5.2e-6 + turns * step * (1 + 0.25 * missing * missing)
  }
}
