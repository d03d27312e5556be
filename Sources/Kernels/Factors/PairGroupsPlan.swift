import Foundation
import MLX

/// How a cluster of blocks divides a pair among Hopper's warpgroups: the constants of
/// `Factors/PairGroupsShape.cuh` and `Factors/PairGroups.cu`, whose static assertions hold them against
/// the kernel's own.
public struct PairGroupsPlan: Hashable, Sendable, CustomStringConvertible {
  /// What it divides.
  public let shape: PairShape
  /// Blocks of a cluster.
  public let cluster: Int
  /// Boxes of x (64 rows by 64 columns), units of the intermediate and places of what is sent that there is room for.
  ///
  /// A block alone has no places.
  public let stages: Int, units: Int, places: Int
  /// How many of three warpgroups do the first product, 1 or 2.
  public let firstGroups: Int
  /// Clusters that share the output pieces of each row, where one does not hold the cores or is slower.
  public let shares: Int

  private static let boxBytes = 8192, columnBytes = 1024

  var divided: PairShape {
    PairShape(m0: shape.m0, m1: shape.m1, n0: shape.n0 / shares, n1: shape.n1, rank: shape.rank)
  }
  private var pieces: Int { ceilDivide(shape.m1, cluster) }
  private var outputPieces: Int { ceilDivide(divided.n0, cluster) }
  /// Output pieces of each block in a unit, a tile of eight columns of the first product.
  private var unitPieces: Int { shape.isLowRank ? 1 : 8 / cluster }
  private var tiles: Int { ceilDivide(outputPieces, unitPieces) }
  /// Inner indices of a block.
  var inner: Int { pieces * shape.rank }
  private var innerChunks: Int { ceilDivide(inner, 8) }
  /// Groups of eight inner indices in an intermediate row of one output piece.
  var chunks: Int { roundUp(cluster * innerChunks, 2) }
  /// Boxes of x in a step.
  var boxes: Int { ceilDivide(pieces * shape.m0, 64) }
  /// Contraction steps that a piece touches, wherever it begins.
  private var windowSteps: Int {
    ceilDivide(16 - min(16, shape.m0 & -shape.m0) + shape.m0, 16)
  }
  /// Boxes that a chunk's longest instruction needs.
  private var window: Int {
    if shape.isLowRank { return 1 }
    return shape.m0 % 64 == 0 ? shape.m0 / 64 : ceilDivide(windowSteps + 3, 4)
  }
  /// Boxes that must be there together: an instruction's, and those of the one before in its chunk, which may still be
  /// reading.
  private var heldBoxes: Int {
    stride(from: 0, to: inner, by: span).map { inner in
      let before = max(inner / 8 * 8, inner - span) / shape.rank
      let end = ceilDivide((inner / shape.rank + 1) * shape.m0, 16)
      return (end - 1) / 4 + 1 - before * shape.m0 / 16 / 4
    }.max() ?? 0
  }
  /// Inner indices of a piece in an instruction of the first product.
  private var span: Int { [8, 4, 2, 1].first { shape.rank % $0 == 0 } ?? 1 }
  /// Two warpgroups of the first product divide chunks, or tiles of eight columns.
  private var tileGroups: Int { innerChunks % 2 == 0 && tiles <= 4 ? 1 : firstGroups }
  private var groupTiles: Int { ceilDivide(tiles, tileGroups) }
  /// Units of a step: the tiles, and an empty one where two warpgroups divide an odd number of them.
  private var stepUnits: Int { groupTiles * tileGroups }
  /// The parts of an output piece that a warpgroup of the second product takes at a time, as wide as its registers
  /// hold.
  private var parts: Int {
    let most = groupTiles <= 3 ? 16 : firstGroups == 1 ? 12 : 8
    let widest = (1...most).last { columnTiles % $0 == 0 && $0 % runTiles == 0 }
    return columnTiles / (widest ?? 1)
  }
  /// Bytes of a block's cores.
  private var coreBytes: (first: Int, second: Int) {
    let first =
      shape.isLowRank
      ? windowSteps * chunks : pieces * windowSteps * tileGroups * shape.rank * groupTiles
    return (first * 256, outputPieces * chunks / 2 * columnTiles * 256)
  }

  /// Bytes of shared memory of a block.
  var sharedBytes: Int {
    let columns = units * unitPieces * chunks + places * 8 * innerChunks
    let data =
      columns * PairGroupsPlan.columnBytes + stages * PairGroupsPlan.boxBytes + coreBytes.first
      + coreBytes.second
    return data + 128 + 16 * (stages + units + 1) + roundUp(8 * places * (1 + innerChunks), 16)
  }

  /// Whether the sums fit the registers, and the shared memory the cores, the boxes of an instruction and, where
  /// a block has more than one chunk, the units of a step; and every block has pieces (of shares the same number), and
  /// every warpgroup sees every use of the barriers that it waits for.
  var fits: Bool {
    guard sharedBytes <= PairPlan.sharedLimit,
      shares == 1 || !divided.isLowRank && divided.n0 % cluster == 0
    else { return false }
    if shape.isLowRank { return cluster == 1 && firstGroups == 1 && chunks <= 16 }
    let slots = cluster == 1 ? units : places
    return !hasIdleBlocks && groupTiles <= 4 && stages >= heldBoxes
      && (innerChunks == 1 || slots >= stepUnits) && slots % tileGroups == 0
  }

  /// `g c8 x4 z4 p4 f2 s1`: cluster, stages, units, places, warpgroups of the first product, shares.
  public var description: String {
    "g c\(cluster) x\(stages) z\(units) p\(places) f\(firstGroups) s\(shares)"
  }
}

extension PairGroupsPlan: PairDivision {
  static let product = (file: "PairGroups", role: "pair_groups")
  static let packing = (file: "PairGroupsPack", role: "pair_groups_pack")

  var stepRows: Int { 64 }
  var words: Int { shares * cluster * (coreBytes.first + coreBytes.second) / 4 }
  var takesMaps: Bool { true }
  var packingOptions: [String: Int] {
    ["FIRST_GROUPS": firstGroups, "SHARES": shares]
  }

  func keptShape(rows: Int) -> [Int] {
    [
      ceilDivide(rows, stepRows),
      shares * cluster * stepUnits * unitPieces * paddedInner * stepRows,
    ]
  }

  func keptBlocks(_ z: MLXArray) -> FactorKernels.Blocks {
    var blocks = FactorKernels.Blocks(
      z, size: paddedInner, kept: inner, of: roundUp(inner, 8), outer: outputPieces,
      stride: unitPieces)
    blocks.isInUnits = true
    return blocks
  }

  func productOptions(_ epilogue: FactorEpilogue) -> [String: Int] {
    [
      "X_STAGES": stages, "Z_UNITS": units, "PLACES": places,
      "TENSOR": pieces * shape.m0 % 8 == 0 ? 1 : 0, "EPILOGUE": epilogue.parts,
      "Y_ALIGNED": isOutputAligned ? 1 : 0,
    ]
  }
}

extension PairGroupsPlan {
  private static let known = Memo<PairShape, PairGroupsPlan?>()

  /// The plan for a pair, `nil` where the cores do not fit the shared memory of four clusters of eight.
  ///
  /// Of those that are expected to be within 2 % of the fastest, for many rows on a GPU of 132 multiprocessors, the one
  /// with most units up to four, which kernels that keep the intermediate need, then with most boxes of x, then with
  /// fewest warpgroups for the first product.
  ///
  /// Searched once for each shape.
  public static func named(_ shape: PairShape) -> PairGroupsPlan? {
    guard [shape.m0, shape.m1, shape.n0, shape.n1, shape.rank].allSatisfy({ $0 > 0 }),
      shape.intermediates <= 1 << 16
    else { return nil }
    return known.value(shape) {
      let h200 = GPU(
        major: 9, minor: 0, multiprocessors: 132, clock: 1.98e9, busBandwidth: 4.92e12,
        cache: 50 << 20)
      let plans = candidates(shape).map { ($0, $0.seconds(rows: 25088, gpu: h200)) }
      let least = plans.map(\.1).min() ?? 0
      return plans.filter { $0.1 <= 1.02 * least }
        .min { $0.0.preference($0.1) < $1.0.preference($1.1) }?.0
    }
  }

  private static func candidates(_ shape: PairShape) -> [PairGroupsPlan] {
    (1...4).filter { shape.n0 % $0 == 0 }.flatMap { shares in
      [1, 2, 4, 8].flatMap { cluster in
        [1, 2].flatMap { candidates(shape, shares: shares, cluster: cluster, firstGroups: $0) }
      }
    }
  }

  /// Least of the plan that is taken among those that are expected to be about as fast.
  private func preference(_ seconds: Double) -> (Int, Int, Int, Double) {
    (-min(units, 4), -stages, firstGroups, seconds)
  }

  /// Some numbers of units and places, and as many stages as there is room for, at most two steps of them.
  private static func candidates(
    _ shape: PairShape, shares: Int, cluster: Int, firstGroups: Int
  ) -> [PairGroupsPlan] {
    let plan = { stages, units, places in
      PairGroupsPlan(
        shape: shape, cluster: cluster, stages: stages, units: units, places: places,
        firstGroups: firstGroups, shares: shares)
    }
    let step = plan(2, 1, 1).stepUnits
    let amounts = Set([2, 3, 4, step, 2 * step]).sorted()
    return amounts.flatMap { units in
      (cluster == 1 ? [0] : amounts).compactMap { places in
        (2...16).reversed().lazy.map { plan($0, units, places) }
          .first { $0.fits && $0.stages <= max(4, 2 * $0.boxes) }
      }
    }
  }

  /// Seconds expected for so many rows.
  ///
  /// A cluster takes step after step, of things that go on side by side: the first product with what it gathers, the
  /// second with what it writes, what is sent, device memory, L2 where clusters share a row, and how soon boxes of x,
  /// units and places come free; where two are about as long they get in each other's way. To clusters that find it in L2
  /// a box comes sooner. Fitted to 367 plans of 18 pairs and 218 shared ones of 19 at 25088 rows
  /// (docs/log-gpu-factors.md): 5 % off on average, the preferred plan 2 % slower than the best of each.
  public func seconds(rows: Int, gpu: GPU) -> Double {
    let clusters = max(1, gpu.residentClusters(of: cluster) / shares)
    let turns = Double(ceilDivide(ceilDivide(rows, stepRows), clusters))
    // Clocks that the matrix instructions read shared memory, A in 16 and a tile of B in 2.
    let instructions = ceilDivide(inner, span) * ceilDivide(shape.m0, 16) * tileGroups
    let firstClocks =
      shape.isLowRank
      ? windowSteps * (16 + 2 * chunks) : instructions * (16 + 2 * span * groupTiles)
    let secondClocks = outputPieces * chunks / 2 * (16 + 2 * columnTiles)
    // In units of 1024 bytes.
    let gathered = Double(shape.isLowRank ? chunks : 8 * stepUnits * innerChunks)
    let written = Double(outputPieces * shape.n1) / 8
    let unit = Double(unitPieces * chunks), tasks = Double(stepUnits * unitPieces * parts)
    let times = [
      (Double(firstClocks) * 0.57e-9 + gathered * 29e-9) / Double(firstGroups),
      (Double(secondClocks) * 0.57e-9 + written * 18e-9 + tasks * 0.15e-6)
        / Double(3 - firstGroups),
      cluster > 1 ? gathered * 39e-9 : 0,
      Double(stepRows * 2 * (shape.inputs + shape.outputs) * clusters) / gpu.copyRate,
      shares > 1 ? Double(stepRows * 2 * shape.inputs * clusters * shares) / 5e12 : 0,
      Double(boxes) * 1.72e-6 * (0.6 + 0.4 / Double(shares)) / Double(stages - window + 1),
      Double(stepUnits) / Double(units) * (0.45e-6 + unit * 45e-9),
      places > 0
        ? Double(stepUnits) / Double(places) * (0.23e-6 + Double(innerChunks) * 0.48e-6) : 0,
    ]
    return 5.6e-6 + turns * pow(times.map { pow($0, 4.6) }.reduce(0, +), 1 / 4.6)
  }
}
