/// What becomes of images on their way into a batch.
///
/// Everything that happens to the image at a place of a step's batch depends on the seed, the step
/// and the place: not on the process that asks, nor on what it asked before.
public struct ImageAugmentation: Hashable, Sendable {
  /// Random crops of the image with a border of this many pixels.
  public var cropPadding = 0
  /// Exchange left and right in half of the images.
  public var flips = false
  /// Random operations of a common strength.
  public var randAugment: RandAugment?
  /// Mix pairs of images by a share from Beta(mixup, mixup); 0 never.
  public var mixup: Float = 0
  /// Paste rectangles of another image, of an area from Beta(cutmix, cutmix); 0 never.
  public var cutmix: Float = 0
  /// What is seen beyond the edges.
  public var fill: UInt8 = 0

  /// Images as they are.
  public static let none = ImageAugmentation()

  /// Nothing, until the properties say otherwise.
  public init() {}

  /// Whether targets are shares of classes, not classes.
  public var mixes: Bool { mixup > 0 || cutmix > 0 }

  /// Throws ``DatasetError/badBatch(reason:)`` if a number is out of its range.
  public func validate() throws(DatasetError) {
    // Jöhnk's rejection accepts one pair in binomial(2α, α): the ranges in use are below 1.
    guard (0...4).contains(mixup), (0...4).contains(cutmix) else {
      throw .badBatch(reason: "expected mixup and cutmix from 0 to 4, got \(mixup) and \(cutmix)")
    }
    guard (0...256).contains(cropPadding) else {
      throw .badBatch(reason: "expected a crop padding of 0 to 256 pixels, got \(cropPadding)")
    }
    if let randAugment,
      !(0...16).contains(randAugment.operations)
        || !(0...10).contains(randAugment.magnitude)
    {
      throw .badBatch(
        reason: "expected RandAugment of 0 to 16 operations of magnitude 0 to 10, got "
          + "\(randAugment.operations) of \(randAugment.magnitude)")
    }
  }

  /// One image, changed by its own random numbers.
  func applied(to image: ByteImage, seed: UInt64, step: Int, slot: Int) -> ByteImage {
    var random = CounterRandom(seed, 0x494D_4147, UInt64(step), UInt64(slot))
    var image = image
    if cropPadding > 0 {
      let right = random.below(2 * cropPadding + 1) - cropPadding
      let down = random.below(2 * cropPadding + 1) - cropPadding
      image = image.moved(right: right, down: down, fill: fill)
    }
    if flips, random.below(2) == 1 { image = image.flipped() }
    if let randAugment { image = randAugment.applied(to: image, fill: fill, &random) }
    return image
  }
}

/// Random operations of one strength (Cubuk, Zoph, Shlens, Le: "RandAugment", 2020), the ones that
/// need no statistics of the image but its mean.
public struct RandAugment: Hashable, Sendable {
  /// Operations an image, drawn with replacement.
  public var operations: Int
  /// Their strength, 0 to 10: at 0 nothing changes but the images that are inverted.
  public var magnitude: Float

  /// So many operations of that strength.
  public init(operations: Int, magnitude: Float) {
    (self.operations, self.magnitude) = (operations, magnitude)
  }

  enum Operation: CaseIterable {
    case identity, brightness, contrast, posterize, solarize, invert
    case translateX, translateY, shearX, shearY, rotate

    /// The operation at a strength of −1 to 1.
    func applied(to image: ByteImage, _ strength: Float, fill: UInt8) -> ByteImage {
      switch self {
      case .identity: return image
      case .brightness: return image.brightness(1 + 0.9 * strength)
      case .contrast: return image.contrast(1 + 0.9 * strength)
      case .posterize: return image.posterized(bits: 8 - Int((4 * abs(strength)).rounded()))
      case .solarize: return image.solarized(from: 256 * (1 - abs(strength)))
      case .invert: return image.inverted()
      case .translateX:
        return image.sampled(1, 0, 0, 1, right: 0.3 * strength * Float(image.width), fill: fill)
      case .translateY:
        return image.sampled(1, 0, 0, 1, down: 0.3 * strength * Float(image.height), fill: fill)
      case .shearX: return image.sampled(1, 0.3 * strength, 0, 1, fill: fill)
      case .shearY: return image.sampled(1, 0, 0.3 * strength, 1, fill: fill)
      case .rotate:
        // To 30 degrees. Sine and cosine by their series: the C library's differ between machines
        // in the last bit. The remainders are below 2⁻²⁴ of 1 here.
        let t = strength * 0.5235988
        let s = t * (1 - t * t / 6 * (1 - t * t / 20 * (1 - t * t / 42 * (1 - t * t / 72))))
        let c = 1 - t * t / 2 * (1 - t * t / 12 * (1 - t * t / 30 * (1 - t * t / 56)))
        return image.sampled(c, s, -s, c, fill: fill)
      }
    }
  }

  func applied(to image: ByteImage, fill: UInt8, _ random: inout CounterRandom) -> ByteImage {
    (0..<operations).reduce(image) { image, _ in
      let operation = Operation.allCases[random.below(Operation.allCases.count)]
      let sign: Float = random.below(2) == 0 ? -1 : 1
      return operation.applied(to: image, sign * magnitude / 10, fill: fill)
    }
  }
}
