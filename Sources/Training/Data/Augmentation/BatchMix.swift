#if canImport(Glibc)
  import Glibc
#endif

/// How the images of one step are mixed with each other: the one at a place with the one at the
/// mirrored place, all in the same way.
enum BatchMix: Hashable, Sendable {
  /// Values weighted by the share and what is left of one (Zhang et al., "mixup", 2018).
  case values(share: Float)
  /// A rectangle of the other image (Yun et al., "CutMix", 2019).
  case rectangle(rows: Range<Int>, columns: Range<Int>, share: Float)

  /// The share of an image's own class in its target.
  var share: Float {
    switch self {
    case .values(let share), .rectangle(_, _, let share): share
    }
  }

  /// What a step does; `nil` if images are not mixed.
  init?(
    _ augmentation: ImageAugmentation, seed: UInt64, step: Int, height: Int, width: Int
  ) {
    var random = CounterRandom(seed, 0x4D49_5845, UInt64(step))
    let (mixup, cutmix) = (augmentation.mixup, augmentation.cutmix)
    let pastes = cutmix > 0 && (mixup <= 0 || random.below(2) == 1)
    guard mixup > 0 || pastes else { return nil }
    let share = BatchMix.beta(pastes ? cutmix : mixup, &random)
    guard pastes else {
      self = .values(share: share)
      return
    }
    // The rectangle's area is 1 − share of the image, and less where the edge cuts it.
    let side = (1 - share).squareRoot()
    func range(_ size: Int) -> Range<Int> {
      let length = Int(Float(size) * side)
      let start = random.below(size) - length / 2
      return max(0, start)..<max(0, min(size, start + length))
    }
    let (rows, columns) = (range(height), range(width))
    self = .rectangle(
      rows: rows, columns: columns,
      share: 1 - Float(rows.count * columns.count) / Float(height * width))
  }

  /// The place whose image is mixed into the one at a place.
  static func partner(of slot: Int, size: Int) -> Int { size - 1 - slot }

  /// A number from Beta(α, α), by Jöhnk's rejection: x/(x + y) of x = u^(1/α), y = v^(1/α) with
  /// x + y ≤ 1.
  private static func beta(_ alpha: Float, _ random: inout CounterRandom) -> Float {
    while true {
      let x = pow(Double(random.unit()), 1 / Double(alpha))
      let y = pow(Double(random.unit()), 1 / Double(alpha))
      if x + y <= 1, x + y > 0 { return Float(x / (x + y)) }
    }
  }
}
