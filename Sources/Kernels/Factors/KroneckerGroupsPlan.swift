import Foundation

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
  /// How rows come, and for how many neighbouring parts at once.
  let arrival: Arrival, cluster: Int
  /// Places of outputs that a tensor map writes while the products go on; 0: lanes write them.
  let places: Int

  /// How rows come to shared memory; the numbers are the device code's.
  enum Arrival: Int, Sendable {
    /// By copies of 16 bytes or of elements.
    case copied = 0
    /// By a tensor map in boxes of 128 bytes of each row.
    case boxed = 1
    /// By a tensor map in whole runs of all k and l of a chunk.
    case runs = 2
  }

  /// Whether rows come by a tensor map.
  var isTensor: Bool { arrival != .copied }
  /// Threads that do nothing but copy: none where sums take all registers.
  var copyingThreads: Int {
    size == 2 && arrival == .boxed && slice == 16 && width == 8 && tiles > 5 ? 0 : 128
  }
  /// Whether the four lanes of a row have neighbouring outputs: of single words only of whole 128 bytes.
  var hasNeighbours: Bool {
    let isByWords = slice * size == 4 && tiles % 4 == 0
    return places > 0 && (arrival == .boxed || width < slice || isByWords)
  }
  /// Tiles of outputs in one place.
  var writtenTiles: Int {
    guard hasNeighbours else { return tiles }
    let letters = slice * size
    if letters == 4 { return 4 }
    if letters == 16 || (letters == 32 && width == slice) || (copyingThreads == 0 && isStationary) {
      return 1
    }
    return tiles % 2 == 0 ? 2 : tiles % 3 == 0 ? 3 : 1
  }
  /// Whether a lane reads whole runs: no access of 8 or 16 bytes takes l of one k.
  var isTogether: Bool { arrival == .runs && width * size % 8 != 0 }

  var slices: Int { ceilDivide(shape.d, slice) }
  var columns: Int { 8 * tiles }
  var part: Int { columns * columnUnits }
  var parts: Int { ceilDivide(shape.b, part) }
  var chunk: Int { chunkSteps * 32 / size }
  var chunks: Int { ceilDivide(shape.c, chunk) }
  /// The longest sum of matrix units that is as exact as plain float32's, and the longest of those that make up a longer one.
  ///
  /// They cut what they add: a sum of 512 numbers is off five times as far, and the errors of parts add up.
  static let longestExactSum = 192, partialExactSum = 128
  /// Chunks whose exact sums are added to the others by plain additions; 0: never.
  var partialChunks: Int {
    guard isExact, shape.c > KroneckerGroupsPlan.longestExactSum else { return 0 }
    return ceilDivide(chunks, ceilDivide(shape.c, KroneckerGroupsPlan.partialExactSum))
  }
  var tileRows: Int { 64 * rowUnits }
  private var stepBytes: Int { slice * (isExact ? 2 : 1) * part * 32 }
  /// Bytes of a block's weights.
  var blockBytes: Int { chunks * chunkSteps * stepBytes }
  /// Words of all weights.
  var words: Int { shape.a * slices * parts * blockBytes / 4 }
  var pitch: Int {
    let run = chunk * slice * size
    if arrival == .boxed { return run }
    let row =
      isTogether
      ? Row(run: run, stride: 8 * slice, access: slice % 2 == 0 ? 16 : 8, isFar: true)
      : Row(run: run, stride: slice * size, access: group * size, isFar: arrival == .runs)
    return row.pitch
  }
  /// Bytes of a stage without its barriers.
  var stageBytes: Int {
    tileRows * pitch + (isStationary ? 0 : roundUp(chunkSteps * stepBytes, alignment))
  }
  private var alignment: Int { isTensor ? 1024 : 1 }
  /// Room in which outputs are put together, some tiles of 32 rows at a time: by each warpgroup for itself
  /// where they do not differ in l.
  private var outputBytes: Int {
    places * (width < slice ? 1 : 2) * 8 * writtenTiles * 32 * slice * size
  }
  /// Bytes of a block's tensor maps.
  var mapBytes: Int { places > 0 ? 256 : isTensor ? 128 : 0 }
  var sharedBytes: Int {
    (isStationary ? roundUp(blockBytes, alignment) : 0) + stages * (stageBytes + 16) + 16
      + outputBytes + mapBytes
  }

  /// Values of l read at once.
  var group: Int {
    if isTogether { return width }
    let isWide = width * tiles <= 40 || copyingThreads == 0
    return (size == 4 ? [4, 3, 2] : isWide ? [8, 4, 6, 3, 2] : [4, 6, 3, 2])
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

  /// `l16/16 j32/16 rows 64 k16 x4 stay map`.
  public var description: String {
    "l\(slice)/\(width) j\(part)/\(columns) rows \(tileRows) k\(chunk) x\(stages)"
      + (isStationary ? " stay" : "") + (isExact ? " exact" : "")
      + ["", " map", " runs"][arrival.rawValue] + (places > 0 ? " w\(places)" : "")
      + (cluster > 1 ? " cluster \(cluster)" : "")
  }

  // MARK: - Rows in shared memory

  /// How the lanes of one access read rows.
  struct Row: Hashable {
    /// Bytes of a row, between the places of neighbouring k, and of an access.
    var run: Int, stride: Int, access: Int
    /// Whether neighbouring lanes take rows 0, 4, 1, 5 and so on.
    var isFar: Bool

    private static let pitches = Memo<Row, Int>()

    /// Bytes between rows: the fewest for which lanes of one access share the fewest banks.
    var pitch: Int {
      Row.pitches.value(self) {
        let words = [16: 4, 8: 2][access] ?? 1
        var best = (conflicts: Int.max, pitch: 0)
        for pad in Swift.stride(from: 0, to: 128, by: 16) {
          let pitch = roundUp(run, 16) + pad
          var uses = [Int](repeating: 0, count: 32)
          for lane in 0..<(32 / words) {
            let row = isFar ? lane / 8 + lane / 4 % 2 * 4 : lane / 4
            for word in 0..<words {
              uses[(row * pitch + lane % 4 * stride + 4 * word) / 4 % 32] += 1
            }
          }
          let conflicts = uses.max() ?? 0
          if conflicts < best.conflicts { best = (conflicts, pitch) }
        }
        return best.pitch
      }
    }
  }
}
