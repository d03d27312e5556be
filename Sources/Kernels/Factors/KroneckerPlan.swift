/// How a grid divides a Kronecker-sparse factor: the constants of `Factors/KroneckerShape.cuh` and
/// `Factors/Kronecker.cu`.
public struct KroneckerPlan: Hashable, Sendable, CustomStringConvertible {
  /// What it divides.
  public let shape: KroneckerShape
  /// Consecutive l of a block, and outputs of a part.
  let slice: Int, part: Int
  /// What a warp takes: l, tiles of eight outputs, blocks of 16 rows.
  let width: Int, tiles: Int, rowBlocks: Int
  /// Rows and contraction steps of a stage.
  let tileRows: Int, chunkSteps: Int
  let stages: Int
  /// Warps of a block, and blocks of a multiprocessor.
  let warps: Int, blocks: Int
  /// Whether segments are whole 16 bytes.
  let isAligned: Bool

  var slices: Int { ceilDivide(shape.d, slice) }
  var parts: Int { ceilDivide(shape.b, part) }
  var steps: Int { ceilDivide(shape.c, 16) }
  /// Words of the weights of one block.
  var partWords: Int { 64 * slice * (part / 8) * steps }
  var words: Int { shape.a * slices * parts * partWords }
  var pitch: Int { KroneckerPlan.rowPitch(slice: slice, width: width, steps: chunkSteps) }
  var sharedBytes: Int { 4 * partWords + stages * tileRows * pitch }
  /// Units of work in a stage, at most one a warp.
  var units: Int { tileRows / (16 * rowBlocks) * (slice / width) * (part / 8 / tiles) }

  /// Blocks along the rows: whole waves of the multiprocessors, and not so many that loading the
  /// weights shows.
  func splits(rows: Int, multiprocessors: Int) -> Int {
    let combinations = parts * slices * shape.a
    let slots = multiprocessors * blocks
    let rowTiles = max(1, ceilDivide(rows, tileRows))
    var best = (cost: Int.max, splits: 1)
    for waves in 1...4 {
      let splits = max(1, min(rowTiles, waves * slots / combinations))
      let bytes = tileRows * slice * (shape.c + part) * 2
      let cost =
        ceilDivide(combinations * splits, slots)
        * (ceilDivide(rowTiles, splits) * bytes + 4 * partWords + 60_000)
      if cost < best.cost { best = (cost, splits) }
    }
    return best.splits
  }

  /// Seconds expected for so many rows.
  ///
  /// Device memory, L2, shared memory and matrix units, the slowest of them whole and the others to six
  /// tenths; fitted to 160 measured plans (scripts/gpu/tune_kronecker.py): a quarter off on average,
  /// the plan it prefers 1.5 % slower than the best.
  func seconds(rows: Int, gpu: GPU) -> Double {
    let (a, b, c, d) = (shape.a, shape.b, shape.c, shape.d)
    let m = Double(rows)
    let segment = 2 * (slice < d ? slice : c * d)
    let run = d == width ? 4 * tiles * width : 2 * width
    let partial = run % 32 == 0 ? 1 : run >= 16 ? 2 : 32 / Double(run)
    let products = Double(
      ceilDivide(rows, 16) * a * slices * slice * steps * parts * part / 8)
    let (x, y) = (m * Double(a * c * d) * 2, m * Double(a * b * d) * 2)
    let copyRate = gpu.copyRate
    let memory = (x + y) / copyRate
    let l2 =
      (x * Double(parts) * max(1, 32 / Double(segment)) + y * partial * 1.5) / (1.47 * copyRate)
    let shared =
      (products * (512 / Double(tiles) + 256 / Double(rowBlocks)) + 2 * x * Double(parts))
      / (2.12e11 * Double(gpu.multiprocessors))
    let matrix = products * 2 / (Double(gpu.multiprocessors) * 1.7e9)
    let busy = Double(units) / Double(warps)
    let times = [memory, l2, shared / busy, matrix / busy]
    let slots = gpu.multiprocessors * blocks
    let combinations =
      parts * slices * a * splits(rows: rows, multiprocessors: gpu.multiprocessors)
    let full = Double(combinations) / Double(roundUp(combinations, slots))
    let flight = min(1, Double((stages - 1) * tileRows * pitch * blocks) / 30_000)
    let slowest = times.max() ?? 0
    let sum = times.reduce(0, +)
    return (slowest + 0.6 * (sum - slowest)) / max(full, 0.3)
      / flight.squareRoot().squareRoot()
  }

  /// `l16/16 j64/32 rows 32/16 k32 x3 w8x1`.
  public var description: String {
    "l\(slice)/\(width) j\(part)/\(8 * tiles) rows \(tileRows)/\(16 * rowBlocks) "
      + "k\(16 * chunkSteps) x\(stages) w\(warps)x\(blocks)"
  }

  // MARK: - The search

  private struct Question: Hashable {
    var shape: KroneckerShape
    var rows: Int
    var gpu: GPU
  }

  private static let known = Memo<Question, KroneckerPlan?>()

  /// The plan expected to be fastest for so many rows, `nil` where there is none.
  ///
  /// Searched once for each pattern and number of rows.
  public static func best(_ shape: KroneckerShape, rows: Int, gpu: GPU) -> KroneckerPlan? {
    guard [shape.a, shape.b, shape.c, shape.d].allSatisfy({ $0 > 0 }), shape.a <= 65_535,
      shape.b <= 1 << 13, shape.c <= 1 << 13
    else { return nil }
    let question = Question(shape: shape, rows: rows, gpu: gpu)
    return known.value(question) {
      var best: (plan: KroneckerPlan, seconds: Double)?
      forEachCandidate(shape) { plan in
        let seconds = plan.seconds(rows: rows, gpu: gpu)
        if seconds < best?.seconds ?? .infinity { best = (plan, seconds) }
      }
      return best?.plan
    }
  }

  /// Values of l read at once: `group` of `KroneckerShape.cuh`.
  private static func group(_ width: Int) -> Int {
    [8, 6, 4, 3, 2].first { width % $0 == 0 } ?? 1
  }

  static func forEachCandidate(_ shape: KroneckerShape, _ body: (KroneckerPlan) -> Void) {
    let (b, c, d) = (shape.b, shape.c, shape.d)
    let isAligned = d % 8 == 0 || (d <= 24 && c * d % 8 == 0)
    var slices = d <= 24 ? [d] : []
    slices += [1, 2, 4, 8, 16, 32].filter {
      $0 < d && (!isAligned || ($0 % 8 == 0 && d % $0 == 0))
    }
    if slices.isEmpty { slices = [1] }
    let steps = ceilDivide(c, 16)
    let chunkings = Set([1, 2, 3, 4, 6, 8, 12, 16].map { ceilDivide(steps, $0) }).sorted()
    for slice in slices {
      var widths = Set([16, 8, 4, 2, 1].filter { slice % $0 == 0 })
      if slice <= 24 { widths.insert(slice) }
      for width in widths.sorted() {
        for rowBlocks in [1, 2, 4] where group(width) * rowBlocks <= 8 {
          for tiles in [1, 2, 3, 4, 6, 8] {
            for (warps, blocks, sums) in [(8, 1, 32), (8, 2, 16), (16, 1, 16)]
            where width * tiles * rowBlocks <= sums {
              let most = ceilDivide(b, 8 * tiles)
              for number in Set((1...most).map { ceilDivide(most, $0) }).sorted() {
                let units = slice / width * number
                guard units <= warps else { continue }
                for chunkSteps in chunkings {
                  for stages in 2...4 {
                    let plan = KroneckerPlan(
                      shape: shape, slice: slice, part: 8 * tiles * number, width: width,
                      tiles: tiles, rowBlocks: rowBlocks,
                      tileRows: 16 * rowBlocks * (warps / units), chunkSteps: chunkSteps,
                      stages: stages, warps: warps, blocks: blocks, isAligned: isAligned)
                    guard plan.sharedBytes <= (blocks == 1 ? PairPlan.sharedLimit : 115_000)
                    else { break }
                    body(plan)
                  }
                }
              }
            }
          }
        }
      }
    }
  }

  private struct Row: Hashable {
    var slice: Int, width: Int, steps: Int
  }

  private static let pitches = Memo<Row, Int>()

  /// Bytes between rows in shared memory: the fewest for which the lanes of one access share no bank,
  /// if there are such.
  static func rowPitch(slice: Int, width: Int, steps: Int) -> Int {
    pitches.value(Row(slice: slice, width: width, steps: steps)) {
      let words = [8: 4, 4: 2][group(width)] ?? 1
      var best = (conflicts: Int.max, pitch: 0)
      for pad in stride(from: 0, to: 128, by: 16) {
        let pitch = steps * 32 * slice + pad
        var conflicts = pitch / 16 % 2 == 1 ? 0 : 1
        if slice > 1 {
          var uses = [Int](repeating: 0, count: 32)
          for lane in 0..<(32 / words) {
            for word in 0..<words {
              uses[(lane / 4 * pitch + lane % 4 * slice * 2 + 4 * word) / 4 % 32] += 1
            }
          }
          conflicts = uses.max() ?? 0
        }
        if conflicts < best.conflicts { best = (conflicts, pitch) }
      }
      return best.pitch
    }
  }
}
