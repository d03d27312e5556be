import Foundation
import Synchronization

/// How a grid divides a Kronecker-sparse factor among Hopper's warpgroups: the constants of
/// `Factors/KroneckerGroupsShape.cuh` and `Factors/KroneckerGroups.cu`.
public struct KroneckerGroupsPlan: Hashable, Sendable, CustomStringConvertible {
  /// What it divides.
  public let shape: KroneckerShape
  /// Bytes of an element.
  let size: Int
  /// Whether float32 is multiplied as exactly as plain multiply-adds do, not through TF32.
  let isExact: Bool
  /// Consecutive l of a block.
  let slice: Int
  /// What a warpgroup takes: l, and tiles of eight outputs (and 64 rows).
  let width: Int, tiles: Int
  /// How many warpgroups differ in outputs, and in rows.
  let columnUnits: Int, rowUnits: Int
  /// Contraction steps of a stage, 32 bytes each.
  let chunkSteps: Int
  let stages: Int
  /// Whether a block's weights stay in shared memory.
  let isStationary: Bool
  /// Whether segments are whole 16 bytes.
  let isAligned: Bool
  /// Whether rows come by a tensor map, and for how many neighbouring parts at once.
  let isTensor: Bool, cluster: Int

  var slices: Int { ceilDivide(shape.d, slice) }
  var columns: Int { 8 * tiles }
  var part: Int { columns * columnUnits }
  var parts: Int { ceilDivide(shape.b, part) }
  var chunk: Int { chunkSteps * 32 / size }
  var chunks: Int { ceilDivide(shape.c, chunk) }
  var tileRows: Int { 64 * rowUnits }
  private var stepBytes: Int { slice * (isExact ? 2 : 1) * part * 32 }
  /// Bytes of a block's weights.
  var blockBytes: Int { chunks * chunkSteps * stepBytes }
  /// Words of all weights.
  var words: Int { shape.a * slices * parts * blockBytes / 4 }
  var pitch: Int {
    isTensor
      ? chunk * slice * size
      : KroneckerGroupsPlan.rowPitch(stride: slice * size, access: group * size, chunk: chunk)
  }
  /// Bytes of a stage without its barriers.
  private var stageBytes: Int {
    tileRows * pitch + (isStationary ? 0 : roundUp(chunkSteps * stepBytes, alignment))
  }
  private var alignment: Int { isTensor ? 1024 : 1 }
  var sharedBytes: Int {
    (isStationary ? roundUp(blockBytes, alignment) : 0) + stages * (stageBytes + 16) + 16
      + (isTensor ? 128 : 0)
  }

  /// Values of l read at once.
  private var group: Int {
    (size == 4 ? [4, 3, 2] : width * tiles <= 32 ? [8, 4, 6, 3, 2] : [4, 6, 3, 2])
      .first { width % $0 == 0 } ?? 1
  }

  /// Numbers of a lane's run of outputs.
  var run: Int { shape.d == width ? 2 * tiles * width : width }

  /// Whether every run of outputs begins at a multiple of its pieces.
  var isOutputAligned: Bool {
    let piece = min(16, size * (run & -run))
    return [shape.b * shape.d, run, shape.d > width ? shape.d : run, shape.outputs].allSatisfy {
      $0 * size % piece == 0
    }
  }

  /// Blocks along the rows: whole waves of the multiprocessors, and not so many that loading the
  /// weights shows.
  func splits(rows: Int, multiprocessors: Int) -> Int {
    let combinations = parts * slices * shape.a
    let rowTiles = max(1, ceilDivide(rows, tileRows))
    // Slices of the same rows come from the same lines, which blocks that run long apart would fetch
    // again.
    let drifts = isTensor && slice < shape.d
    if drifts, cluster == 1, parts > 1 { return ceilDivide(rowTiles, 4) }
    let fixed = (isStationary ? blockBytes : 0) + 60_000
    var best = (cost: Int.max, splits: 1)
    for waves in 1...(drifts ? 8 : 4) {
      var splits = max(1, min(rowTiles, waves * multiprocessors / combinations))
      if drifts { splits = max(splits, ceilDivide(rowTiles, 48)) }
      let bytes = tileRows * slice * (shape.c + part) * size
      let cost =
        ceilDivide(combinations * splits, multiprocessors)
        * (ceilDivide(rowTiles, splits) * bytes + fixed)
      if cost < best.cost { best = (cost, splits) }
    }
    return best.splits
  }

  /// Seconds expected for so many rows.
  ///
  /// Device memory, L2, shared memory and matrix units, the slowest of them whole and the others to a half.
  /// Runs of outputs under a sector of 32 bytes cost several.
  func seconds(rows: Int, gpu: GPU) -> Double {
    if isTensor { return tensorSeconds(rows: rows, gpu: gpu) }
    let (a, b, c, d) = (shape.a, shape.b, shape.c, shape.d)
    let m = Double(rows)
    let cores = Double(gpu.multiprocessors)
    let (x, y) = (m * Double(a * c * d * size), m * Double(a * b * d * size))
    let segment = size * (slice < d ? slice : c * d)
    let run = size * self.run
    let partial = run % 32 == 0 ? 1 : run >= 16 ? 3.5 : 48 / Double(run)
    let rowTiles = ceilDivide(rows, tileRows)
    let combinations = parts * slices * a
    let splits = splits(rows: rows, multiprocessors: gpu.multiprocessors)
    let weights = Double(combinations * blockBytes * (isStationary ? splits : rowTiles))
    let steps = Double(2 * rowTiles * combinations * chunks * chunkSteps * width)
    let products = isExact ? 3.0 : 1
    let memory = (x + y * (partial > 1 ? 1.5 : 1)) / gpu.copyRate
    let l2 =
      (x * Double(parts) * max(1, 32 / Double(segment)) + weights + y * partial * 1.5)
      / (1.47 * gpu.copyRate)
    let shared =
      (steps * 32 * (64 + Double(columns) * products) + x * Double(parts) + weights)
      / (cores * 128 * 1.7e9)
    let matrix = steps * products * max(Double(columns) / 2, 16) / (cores * 1.7e9)
    let times = [memory, l2, shared, matrix]
    let full =
      Double(combinations * splits)
      / Double(roundUp(combinations * splits, gpu.multiprocessors))
    let flight = min(1, Double((stages - 1) * tileRows * pitch) / 60_000)
    let slowest = times.max() ?? 0
    return (slowest + 0.5 * (times.reduce(0, +) - slowest)) / max(full, 0.3)
      / flight.squareRoot().squareRoot()
  }

  /// Fitted to 372 times of 70 patterns on an H200: 11 % off on average, the preferred plan 4 % slower than the
  /// best of each.
  private func tensorSeconds(rows: Int, gpu: GPU) -> Double {
    let (a, b, c, d) = (shape.a, shape.b, shape.c, shape.d)
    let m = Double(rows)
    let cores = Double(gpu.multiprocessors)
    let (x, y) = (m * Double(a * c * d * size), m * Double(a * b * d * size))
    let rowTiles = max(1, ceilDivide(rows, tileRows))
    let combinations = parts * slices * a
    let splits = splits(rows: rows, multiprocessors: gpu.multiprocessors)
    let weights = Double(combinations * blockBytes * (isStationary ? splits : rowTiles))
    let units = Double(rowTiles * combinations)
    let steps = units * Double(chunks * chunkSteps)
    let products = isExact ? 3.0 : 1
    let conflicts = slice * size == 32 && group * size == 8 ? 2.0 : 1
    let memory = (x + y) / (0.988 * gpu.copyRate)
    let l2 = (x * Double(parts) / Double(cluster) + weights + 3 * y) / (2.99 * gpu.copyRate)
    // Boxes whose lines are 32 bytes.
    let lines = slice < d ? x * Double(parts) / 32 / cores * 1.16e-9 : 0
    let read = steps * Double(64 * width) * (64 * conflicts + Double(columns) * products)
    // The rounding of float32, the begin of a stage, the end of a tile.
    let own = (steps * (size == 4 ? 2.7e-7 : 0) + units * (Double(chunks) * 5e-8 + 6e-7)) / cores
    let shared = (read + x * Double(parts) + weights) / (cores * 128 * 2.2e9) + own
    let times = [memory, l2, lines, shared]
    let uneven =
      Double(roundUp(combinations * splits, gpu.multiprocessors) * ceilDivide(rowTiles, splits))
      / units
    let flight = min(1, Double((stages - 1) * stageBytes) / 120_000)
    let slowest = times.max() ?? 0
    return (slowest + 0.2 * (times.reduce(0, +) - slowest)) * pow(uneven, 0.15)
      / pow(flight, 0.05) + 4e-6
  }

  /// `l16/16 j32/16 rows 64 k16 x4 stay map`.
  public var description: String {
    "l\(slice)/\(width) j\(part)/\(columns) rows \(tileRows) k\(chunk) x\(stages)"
      + (isStationary ? " stay" : "") + (isExact ? " exact" : "") + (isTensor ? " map" : "")
      + (cluster > 1 ? " cluster \(cluster)" : "")
  }

  // MARK: - The search

  private struct Question: Hashable {
    var shape: KroneckerShape
    var size: Int
    var isExact: Bool
    var rows: Int
    var gpu: GPU
  }

  private static let known = Mutex<[Question: KroneckerGroupsPlan?]>([:])

  /// The longest sum that is as exact as plain float32's: matrix units cut what they add, so a sum of 512
  /// numbers is off five times as far.
  static let longestExactSum = 192

  /// The plan expected to be fastest for elements of so many bytes, `nil` where there is none: on another
  /// GPU than Hopper, or for long sums that are to be exact.
  ///
  /// Searched once for each pattern and number of rows.
  public static func best(
    _ shape: KroneckerShape, rows: Int, elementSize: Int, isExact: Bool = false, gpu: GPU
  ) -> KroneckerGroupsPlan? {
    guard gpu.major == 9, [shape.a, shape.b, shape.c, shape.d].allSatisfy({ $0 > 0 }),
      shape.a <= 65_535, shape.b <= 1 << 13, shape.c <= 1 << 13,
      !isExact || shape.c <= longestExactSum
    else { return nil }
    let question = Question(
      shape: shape, size: elementSize, isExact: isExact, rows: rows, gpu: gpu)
    if let plan = known.withLock({ $0[question] }) { return plan }
    var best: (plan: KroneckerGroupsPlan, seconds: Double)?
    forEachCandidate(shape, size: elementSize, isExact: isExact) { plan in
      let seconds = plan.seconds(rows: rows, gpu: gpu)
      if seconds < best?.seconds ?? .infinity { best = (plan, seconds) }
    }
    known.withLock { $0[question] = .some(best?.plan) }
    return best?.plan
  }

  /// The deepest pipeline that fits.
  private static func fitting(_ plan: (_ stages: Int) -> KroneckerGroupsPlan)
    -> KroneckerGroupsPlan?
  {
    [8, 6, 5, 4, 3, 2].lazy.map(plan).first { $0.sharedBytes <= PairPlan.sharedLimit }
  }

  /// Calls `body` with every plan whose rows come by a tensor map: in lines of 128 bytes where a slice is all
  /// of d, else of 32.
  private static func forEachTensorCandidate(
    _ shape: KroneckerShape, size: Int, isExact: Bool, _ body: (KroneckerGroupsPlan) -> Void
  ) {
    let (b, c, d) = (shape.b, shape.c, shape.d)
    for slice in [2, 4, 8, 16] {
      let isWhole = slice == d && slice * size <= 32 && c * d * size % 16 == 0
      guard isWhole || (slice < d && slice * size == 32 && d * size % 32 == 0) else { continue }
      for (columnUnits, rowUnits) in [(2, 1), (1, 2)] {
        let needed = ceilDivide(b, 8 * columnUnits)
        for tiles in Set((1...needed).map { ceilDivide(needed, $0) }).sorted()
        where tiles <= min(16, (isExact ? 32 : 48) / slice) {
          // No run of outputs is cut by an end, none is less than a sector.
          if isWhole, b % (2 * tiles) != 0 || 2 * tiles * slice * size % 32 != 0 { continue }
          for chunkSteps in [1, 2, 3, 4, 6, 8]
          where chunkSteps * slice <= 64 && chunkSteps <= ceilDivide(c * size, 32)
            && chunkSteps * 32 * slice % 128 == 0
          {
            for isStationary in [true, false] {
              for cluster in isWhole ? [1] : [1, 2] {
                let plan = fitting { stages in
                  KroneckerGroupsPlan(
                    shape: shape, size: size, isExact: isExact, slice: slice, width: slice,
                    tiles: tiles, columnUnits: columnUnits, rowUnits: rowUnits,
                    chunkSteps: chunkSteps, stages: stages, isStationary: isStationary,
                    isAligned: true, isTensor: true, cluster: cluster)
                }
                if let plan, plan.parts % cluster == 0 { body(plan) }
              }
            }
          }
        }
      }
    }
  }

  static func forEachCandidate(
    _ shape: KroneckerShape, size: Int, isExact: Bool, _ body: (KroneckerGroupsPlan) -> Void
  ) {
    forEachCopyCandidate(shape, size: size, isExact: isExact, body)
    forEachTensorCandidate(shape, size: size, isExact: isExact, body)
  }

  private static func forEachCopyCandidate(
    _ shape: KroneckerShape, size: Int, isExact: Bool, _ body: (KroneckerGroupsPlan) -> Void
  ) {
    let (b, c, d) = (shape.b, shape.c, shape.d)
    let isWholeAligned = d <= 16 && c * d * size % 16 == 0
    let isAligned = d * size % 16 == 0 || isWholeAligned
    var slices = d <= 16 && (isWholeAligned || !isAligned) ? [d] : []
    slices += [1, 2, 4, 8, 16].filter {
      $0 < d && (!isAligned || (d * size % 16 == 0 && $0 * size % 16 == 0 && d % $0 == 0))
    }
    for slice in slices {
      for (widthUnits, columnUnits, rowUnits) in [(2, 1, 1), (1, 2, 1), (1, 1, 2)]
      where slice % widthUnits == 0 {
        let width = slice / widthUnits
        // Sums of a thread: four for each l and tile.
        let most = min(16, 32 / width)
        let needed = ceilDivide(b, 8 * columnUnits)
        for tiles in Set((1...needed).map { ceilDivide(needed, $0) }).sorted() where tiles <= most {
          for chunkSteps in [1, 2, 3, 4, 6, 8]
          where chunkSteps * width <= 64 && chunkSteps <= ceilDivide(c * size, 32) {
            for isStationary in [true, false] {
              let plan = fitting { stages in
                KroneckerGroupsPlan(
                  shape: shape, size: size, isExact: isExact, slice: slice, width: width,
                  tiles: tiles, columnUnits: columnUnits, rowUnits: rowUnits,
                  chunkSteps: chunkSteps, stages: stages, isStationary: isStationary,
                  isAligned: isAligned, isTensor: false, cluster: 1)
              }
              if let plan { body(plan) }
            }
          }
        }
      }
    }
  }

  private struct Row: Hashable {
    var stride: Int, access: Int, chunk: Int
  }

  private static let pitches = Mutex<[Row: Int]>([:])

  /// Bytes between rows in shared memory: the fewest for which the lanes of one access share the fewest
  /// banks.
  ///
  /// A lane reads `access` bytes at multiples of `stride`.
  static func rowPitch(stride: Int, access: Int, chunk: Int) -> Int {
    let row = Row(stride: stride, access: access, chunk: chunk)
    return pitches.withLock { pitches in
      if let pitch = pitches[row] { return pitch }
      let words = [16: 4, 8: 2][access] ?? 1
      var best = (conflicts: Int.max, pitch: 0)
      for pad in Swift.stride(from: 0, to: 128, by: 16) {
        let pitch = roundUp(chunk * stride, 16) + pad
        var uses = [Int](repeating: 0, count: 32)
        for lane in 0..<(32 / words) {
          for word in 0..<words {
            uses[(lane / 4 * pitch + lane % 4 * stride + 4 * word) / 4 % 32] += 1
          }
        }
        let conflicts = uses.max() ?? 0
        if conflicts < best.conflicts { best = (conflicts, pitch) }
      }
      pitches[row] = best.pitch
      return best.pitch
    }
  }
}
