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

  /// Fitted to 223 times of 62 patterns on an H200: 9 % off on average, the preferred plan 1.2 % slower than the
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
    let conflicts = slice * size >= 32 && group * size == 8 ? 2.0 : 1
    let memory = (x + y) / (0.988 * gpu.copyRate)
    // Runs are read with what pads them.
    let padded = x * Double(pitch) / Double(chunk * slice * size)
    let l2 =
      (padded * Double(parts) / Double(cluster) + weights + 4.2 * y) / (3.22 * gpu.copyRate)
    // Boxes whose lines are 32 bytes.
    let lines = slice < d ? x * Double(parts) / 32 / cores * 1.15e-9 : 0
    let read =
      steps * Double(64 * width) * (64 * conflicts + Double(columns) * products)
      + (writes > 0 ? 2 * y : 0)
    // The rounding of float32, the begin of a stage, the end of a tile.
    let rounding = size == 4 ? 4.5e-8 * Double(width) : 0
    let own = (steps * rounding + units * (Double(chunks) * 5e-8 + 1.6e-6)) / cores
    let shared = (read + x * Double(parts) + weights) / (cores * 128 * 2e9) + own
    let times = [memory, l2, lines, shared]
    let uneven =
      Double(roundUp(combinations * splits, gpu.multiprocessors) * ceilDivide(rowTiles, splits))
      / units
    let flight = min(1, Double((stages - 1) * stageBytes) / 120_000)
    let slowest = times.max() ?? 0
    return (slowest + 0.2 * (times.reduce(0, +) - slowest)) * pow(uneven, 0.45)
      / pow(flight, 0.05) + 4e-6
  }
}
