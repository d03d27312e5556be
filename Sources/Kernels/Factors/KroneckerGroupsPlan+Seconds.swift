import Foundation

extension KroneckerGroupsPlan {
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

  /// Fitted to 1,152 times of 104 patterns on an H200 (benchmarks/factor-writes-h200.json): 10 % off on average, the
  /// preferred plan 3 % slower than the best measured of each.
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
    let memory = (x + y) / (1.098 * gpu.copyRate) * (slice < d && size == 4 ? 1.25 : 1)
    // Rows pass L2 once for each part; writing costs several times as much as reading.
    let l2Rate = 3.154 * gpu.copyRate
    let written = weights + (places > 0 ? 1.75 : 3.9) * y
    let passed = x * Double(parts)
    var l2 = written / l2Rate
    if slice < d {
      // Boxes whose lines are 32 bytes.
      l2 += passed / 32 / cores * (cluster > 1 ? 0.59 : 0.88) * 1e-9
    } else {
      // Runs are read with what pads them.
      let padded = passed * Double(pitch) / Double(chunk * slice * size)
      l2 += padded * (cluster > 1 ? 0.45 : 1) / l2Rate
    }
    let conflicts = slice * size >= 32 && group * size == 8 ? 1.4 : 1.0
    let read = steps * Double(64 * width) * (64 * conflicts + Double(columns) * products)
    // The rounding of float32, copies by threads that multiply, the begin of a stage, the end of a tile.
    let rounding = (isExact ? 5.7e-8 : size == 4 ? 1.9e-8 : 0) * Double(width)
    let copying = copyingThreads == 0 ? 3.5e-7 : 0
    let perTile = Double(chunks) * 4.3e-8 + 5.7e-7
    let own = (steps * (rounding + copying) + units * perTile) / cores
    let shared = (read + passed + weights) / (cores * 128 * 1.97e9) + own
    let times = [memory, l2, shared]
    let blocks = roundUp(combinations * splits, gpu.multiprocessors) * ceilDivide(rowTiles, splits)
    let uneven = pow(Double(blocks) / units, 0.95)
    let flight = pow(min(1, Double((stages - 1) * stageBytes) / 120_000), 0.165)
    let slowest = times.max() ?? 0
    let bound = slowest + 0.25 * (times.reduce(0, +) - slowest)
    return bound * uneven / flight + 4.5e-6
  }
}
