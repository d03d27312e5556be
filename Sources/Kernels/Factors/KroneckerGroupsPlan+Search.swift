extension KroneckerGroupsPlan {
  private struct Question: Hashable {
    var shape: KroneckerShape
    var size: Int
    var isExact: Bool
    var rows: Int
    var gpu: GPU
  }

  private static let known = Memo<Question, KroneckerGroupsPlan?>()

  /// The plan expected to be fastest for elements of so many bytes, `nil` where there is none: on another
  /// GPU than Hopper, or with d = 1 where rows of a block are no whole 16 bytes.
  ///
  /// Searched once for each pattern and number of rows.
  public static func best(
    _ shape: KroneckerShape, rows: Int, elementSize: Int, isExact: Bool = false, gpu: GPU
  ) -> KroneckerGroupsPlan? {
    guard gpu.major == 9, [shape.a, shape.b, shape.c, shape.d].allSatisfy({ $0 > 0 }),
      shape.a <= 65_535, shape.b <= 1 << 13, shape.c <= 1 << 13
    else { return nil }
    let question = Question(
      shape: shape, size: elementSize, isExact: isExact, rows: rows, gpu: gpu)
    return known.value(question) {
      var best: (plan: KroneckerGroupsPlan, seconds: Double)?
      forEachCandidate(shape, size: elementSize, isExact: isExact) { plan in
        let seconds = plan.seconds(rows: rows, gpu: gpu)
        if seconds < best?.seconds ?? .infinity { best = (plan, seconds) }
      }
      return best?.plan
    }
  }

  /// Calls `body` with every plan, each with the deepest pipeline that fits.
  static func forEachCandidate(
    _ shape: KroneckerShape, size: Int, isExact: Bool, _ body: (KroneckerGroupsPlan) -> Void
  ) {
    for way in ways(shape, size: size) {
      for (widthUnits, columnUnits, rowUnits) in [(2, 1, 1), (1, 2, 1), (1, 1, 2)]
      where way.slice % widthUnits == 0 {
        let division = Division(
          way: way, width: way.slice / widthUnits, columnUnits: columnUnits, rowUnits: rowUnits)
        guard division.isPossible(shape, size: size) else { continue }
        let needed = ceilDivide(shape.b, 8 * columnUnits)
        for tiles in Set((1...needed).map { ceilDivide(needed, $0) }).sorted()
        where division.allows(tiles: tiles, shape, size: size, isExact: isExact) {
          forEachPlan(shape, size: size, isExact: isExact, division, tiles: tiles, body)
        }
      }
    }
  }

  /// How rows come, and how many l a block takes of them.
  private struct Way {
    var arrival: Arrival, slice: Int
    /// Whether segments are whole 16 bytes.
    var isAligned: Bool
  }

  private static func ways(_ shape: KroneckerShape, size: Int) -> [Way] {
    let (c, d) = (shape.c, shape.d)
    let isWhole = c * d * size % 16 == 0
    // Neighbouring k are read as the l of other patterns are.
    if d == 1 { return isWhole ? [Way(arrival: .runs, slice: 1, isAligned: true)] : [] }
    let isAligned = d * size % 16 == 0 || (d <= 16 && isWhole)
    var copied = d <= 16 && (isWhole || !isAligned) ? [d] : []
    copied += [1, 2, 4, 8, 16].filter {
      $0 < d && (!isAligned || (d * size % 16 == 0 && $0 * size % 16 == 0 && d % $0 == 0))
    }
    var ways = copied.map { Way(arrival: .copied, slice: $0, isAligned: isAligned) }
    // Lines of 32 bytes of a larger d.
    if 32 / size < d, d * size % 32 == 0 {
      ways.append(Way(arrival: .boxed, slice: 32 / size, isAligned: true))
    }
    guard isWhole else { return ways }
    if [2, 4, 8, 16].contains(d), d * size <= 32 {
      ways.append(Way(arrival: .boxed, slice: d, isAligned: true))
    } else if d <= (d * size % 8 == 0 ? 24 : 8) {
      ways.append(Way(arrival: .runs, slice: d, isAligned: true))
    }
    return ways
  }

  /// How the two warpgroups differ.
  private struct Division {
    var way: Way
    var width: Int, columnUnits: Int, rowUnits: Int

    /// With tensor maps they differ in l only where they can put their outputs together.
    func isPossible(_ shape: KroneckerShape, size: Int) -> Bool {
      guard way.arrival != .copied, width < way.slice else { return true }
      if way.arrival == .boxed { return size == 2 && way.slice == 16 }
      return way.slice * size % 16 == 0 && width * size % 8 == 0
        && shape.b * shape.d * size % 16 == 0
    }

    /// How many places of outputs that a tensor map writes there may be; 0: lanes write.
    func places(tiles: Int, _ shape: KroneckerShape, size: Int) -> [Int] {
      guard way.arrival != .copied else { return [0] }
      if width < way.slice { return [3] }
      let d = shape.d
      // By lanes: no run of outputs is cut by an end, none has parts of sectors.
      let isByLanes =
        way.slice < d || (shape.b % (2 * tiles) == 0 && 2 * tiles * way.slice * size % 32 == 0)
      guard way.slice == d, shape.b * d * size % 16 == 0 else { return isByLanes ? [0] : [] }
      return (isByLanes ? [0] : []) + placesOfWholeRuns(tiles: tiles, bytes: d * size)
    }

    /// The places where a block has all l of its outputs, of so many bytes.
    private func placesOfWholeRuns(tiles: Int, bytes: Int) -> [Int] {
      guard way.arrival == .runs else {
        return bytes == 16 || bytes == 32 || (bytes == 8 && tiles % 2 == 0) ? [3] : []
      }
      if bytes == 4, tiles % 4 == 0 { return [3] }
      // Boxes of 128 bytes, or one of up to 256 pieces of eight.
      let isBox = tiles * bytes % 16 == 0 || tiles * bytes <= 256
      return tiles * bytes % 4 == 0 && isBox ? [2] : []
    }

    func allows(tiles: Int, _ shape: KroneckerShape, size: Int, isExact: Bool) -> Bool {
      let isTensor = way.arrival != .copied
      // Sums of a thread: four for each l and tile, twice where exact ones are added to others.
      let isLong = isExact && shape.c > KroneckerGroupsPlan.longestExactSum
      let most = isTensor && !isExact ? 48 : isLong ? 16 : 32
      guard tiles <= min(16, most / width) else { return false }
      return way.arrival != .runs || shape.d * size % 8 == 0 || (4 * tiles + 6) * shape.d <= 212
    }
  }

  private static func forEachPlan(
    _ shape: KroneckerShape, size: Int, isExact: Bool, _ division: Division, tiles: Int,
    _ body: (KroneckerGroupsPlan) -> Void
  ) {
    let way = division.way
    for places in division.places(tiles: tiles, shape, size: size) {
      for chunkSteps in [1, 2, 3, 4, 6, 8]
      where chunkSteps * division.width <= 64 && chunkSteps <= ceilDivide(shape.c * size, 32)
        && (way.arrival != .boxed || chunkSteps * 32 * way.slice % 128 == 0)
      {
        for isStationary in [true, false] {
          for cluster in way.arrival == .copied ? [1] : [1, 2] {
            let plans = [8, 6, 5, 4, 3, 2].lazy.map { stages in
              KroneckerGroupsPlan(
                shape: shape, size: size, isExact: isExact, slice: way.slice,
                width: division.width, tiles: tiles, columnUnits: division.columnUnits,
                rowUnits: division.rowUnits, chunkSteps: chunkSteps, stages: stages,
                isStationary: isStationary, isAligned: way.isAligned, arrival: way.arrival,
                cluster: cluster, places: places)
            }
            // Without threads that copy a stage is filled later.
            if let plan = plans.first(where: { $0.sharedBytes <= PairPlan.sharedLimit }),
              plan.parts % cluster == 0, plan.copyingThreads > 0 || plan.stages > 2
            {
              body(plan)
            }
          }
        }
      }
    }
  }
}
