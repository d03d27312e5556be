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

  /// Fitted to 461 times of 70 patterns on an H200: 9 % off on average, the preferred plan 2 % slower than the
  /// best measured of each.
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
    // Fitted to 53 plans more: float32 in lines of 32 bytes, 10 % off instead of 12.
    let memory = (x + y) / (1.098 * gpu.copyRate) * (slice < d && size == 4 ? 1.5 : 1)
    // Rows pass L2 once for each part; writing costs several times as much as reading.
    let l2Rate = 3.154 * gpu.copyRate
    let written = weights + (places > 0 ? 2.25 : 3.8) * y
    let passed = x * Double(parts)
    var l2 = written / l2Rate
    if slice < d {
      // Boxes whose lines are 32 bytes.
      l2 += passed / 32 / cores * (cluster > 1 ? 0.785 : 0.92) * 1e-9
    } else {
      // Runs are read with what pads them.
      let padded = passed * Double(pitch) / Double(chunk * slice * size)
      l2 += padded * (cluster > 1 ? 0.57 : 1) / l2Rate
    }
    let conflicts = slice * size >= 32 && group * size == 8 ? 1.8 : 1.0
    let read = steps * Double(64 * width) * (64 * conflicts + Double(columns) * products)
    // The rounding of float32, copies by threads that multiply, the begin of a stage, the end of a tile.
    let rounding = size == 4 ? 5.2e-8 * Double(width) : 0
    let copying = copyingThreads == 0 ? 3e-7 : 0
    let perTile = Double(chunks) * 7.9e-8 + 7.5e-7
    let own = (steps * (rounding + copying) + units * perTile) / cores
    let shared = (read + passed + weights) / (cores * 128 * 1.97e9) + own
    let times = [memory, l2, shared]
    let blocks = roundUp(combinations * splits, gpu.multiprocessors) * ceilDivide(rowTiles, splits)
    let uneven = pow(Double(blocks) / units, 0.95)
    let flight = pow(min(1, Double((stages - 1) * stageBytes) / 120_000), 0.165)
    let slowest = times.max() ?? 0
    let bound = slowest + 0.18 * (times.reduce(0, +) - slowest)
    // With d = 1 by 42 patterns more, 6 % off.
    return bound * uneven / flight + (d == 1 ? 3.4e-6 : 5.4e-6)
  }
}
