import Foundation
import MLX
import TestSupport
import Testing

@testable import Training

@Suite struct AugmentationTests {
  /// Every value once in 16 × 16.
  private let square = ByteImage(
    height: 16, width: 16, channels: 1, pixels: (0...255).map { UInt8($0) })

  private let coloured = ByteImage(
    height: 4, width: 5, channels: 3, pixels: (0..<60).map { UInt8($0 * 4) })

  // MARK: - Laws of the operations

  @Test func operationsOfNoStrengthChangeNothing() {
    for image in [square, coloured] {
      for operation in RandAugment.Operation.allCases where operation != .invert {
        #expect(operation.applied(to: image, 0, fill: 9) == image, "\(operation)")
      }
    }
  }

  @Test func someOperationsUndoThemselves() {
    #expect(coloured.inverted().inverted() == coloured)
    #expect(coloured.inverted() != coloured)
    #expect(coloured.flipped().flipped() == coloured)
    #expect(coloured.flipped() != coloured)
    #expect(square.solarized(from: 0) == square.inverted())
  }

  @Test func valuesFollowTheirFormulas() {
    func expected(_ value: (Int) -> Int) -> [UInt8] { (0...255).map { UInt8(value($0)) } }
    // Halves go to the even neighbour.
    let halves = expected { $0 / 2 + ($0 % 4 == 3 ? 1 : 0) }
    #expect(square.brightness(0.5).pixels == halves)
    let doubles = expected { min(255, 2 * $0) }
    #expect(square.brightness(2).pixels == doubles)
    let upper = expected { $0 / 16 * 16 }
    #expect(square.posterized(bits: 4).pixels == upper)
    let solarized = expected { $0 < 100 ? $0 : 255 - $0 }
    #expect(square.solarized(from: 100).pixels == solarized)
    // The mean is 127.5, and half-way to it from 0 is 63.75.
    #expect(square.contrast(0.5).pixels.first == 64)
    #expect(square.contrast(0).pixels.allSatisfy { $0 == 128 })
  }

  @Test func movesByWholePixelsAreExact() {
    let moved = coloured.moved(right: 2, down: -1, fill: 7)
    for y in 0..<4 {
      for x in 0..<5 {
        for channel in 0..<3 {
          let isInside = x >= 2 && y < 3
          let expected = isInside ? coloured.pixels[((y + 1) * 5 + x - 2) * 3 + channel] : 7
          #expect(moved.pixels[(y * 5 + x) * 3 + channel] == expected)
        }
      }
    }
    #expect(coloured.sampled(1, 0, 0, 1, right: 2, down: -1, fill: 7) == moved)
    #expect(coloured.moved(right: 5, down: 0, fill: 7).pixels.allSatisfy { $0 == 7 })
  }

  @Test func aHalfTurnReversesPixels() {
    let turned = square.sampled(-1, 0, 0, -1, fill: 0)
    #expect(turned.pixels == square.pixels.reversed())
    // A quarter: the pixel at (y, x) comes from (x, 15 − y) or (15 − x, y).
    let quarter = square.sampled(0, 1, -1, 0, fill: 0)
    #expect(quarter.pixels[0] == square.pixels[15 * 16] || quarter.pixels[0] == square.pixels[15])
    #expect(quarter.sampled(0, -1, 1, 0, fill: 0) == square)
  }

  @Test func theSeriesAreSineAndCosine() {
    // A rotation keeps the middle of a large disc as it is and moves a point on the axis.
    let size = 41
    var dot = ByteImage(
      height: size, width: size, channels: 1, pixels: [UInt8](repeating: 0, count: size * size))
    dot.pixels[20 * size + 40] = 255
    let turned = RandAugment.Operation.rotate.applied(to: dot, 1, fill: 0)
    // 30 degrees at radius 20: 10 rows up or down, 17.3 columns right.
    let brightest = turned.pixels.indices.max { turned.pixels[$0] < turned.pixels[$1] } ?? 0
    #expect(abs(abs(brightest / size - 20) - 10) <= 1)
    #expect(abs(brightest % size - 20 - 17) <= 1)
  }

  // MARK: - Batches

  private func set(_ augmentation: ImageAugmentation, seed: UInt64 = 3) throws -> ImageSet {
    try withTemporaryFolder { folder in
      try Sets.images(folder.appending(path: "set"))
        .images(.train, augmentation: augmentation, seed: seed)
    }
  }

  private var everything: ImageAugmentation {
    var augmentation = ImageAugmentation()
    augmentation.cropPadding = 2
    augmentation.flips = true
    augmentation.randAugment = RandAugment(operations: 2, magnitude: 5)
    augmentation.mixup = 0.8
    augmentation.cutmix = 1
    return augmentation
  }

  @Test func theSameKeyGivesTheSameBits() throws {
    let sets = [try set(everything), try set(everything)]
    for step in [0, 5, 6] {
      let batches = try sets.map { try $0.batch(step: step, size: 8, part: 0, of: 1) }
      #expect(try batches[0].inputs.asBytes() == batches[1].inputs.asBytes())
      #expect(try batches[0].targets.asBytes() == batches[1].targets.asBytes())
    }
    let other = try set(everything, seed: 4).batch(step: 0, size: 8, part: 0, of: 1)
    let first = try sets[0].batch(step: 0, size: 8, part: 0, of: 1)
    #expect(try other.inputs.asBytes() != first.inputs.asBytes())
  }

  @Test func partsTogetherAreTheWholeBatchWhereImagesAreMixed() throws {
    let set = try set(everything)
    for step in 0..<4 {
      let whole = try set.batch(step: step, size: 6, part: 0, of: 1)
      let parts = try (0..<3).map { try set.batch(step: step, size: 6, part: $0, of: 3) }
      #expect(try parts.flatMap { try $0.inputs.asBytes() } == whole.inputs.asBytes())
      #expect(try parts.flatMap { try $0.targets.asBytes() } == whole.targets.asBytes())
    }
  }

  @Test(arguments: [(Float(0.8), Float(0)), (0, 1), (0.2, 0.5)])
  func sharesSumToOne(alphas: (mixup: Float, cutmix: Float)) throws {
    var augmentation = ImageAugmentation()
    (augmentation.mixup, augmentation.cutmix) = alphas
    let set = try set(augmentation)
    var shares: Set<Float> = []
    for step in 0..<20 {
      let batch = try set.batch(step: step, size: 4, part: 0, of: 1)
      #expect(batch.targets.shape == [4, 3] && batch.targets.dtype == .float32)
      let targets = try batch.targets.asArray(Float.self)
      for row in 0..<4 {
        let values = targets[row * 3..<row * 3 + 3]
        #expect(abs(values.reduce(0, +) - 1) <= 0x1p-23)
        #expect(values.allSatisfy { $0 >= 0 && $0 <= 1 })
        shares.formUnion(values)
      }
    }
    // Not only whole classes.
    #expect(shares.count > 10)
  }

  @Test func mixedImagesAreWeightedByTheirShares() throws {
    var augmentation = ImageAugmentation()
    augmentation.mixup = 1
    let (mixed, plain) = (try set(augmentation), try set(.none))
    let mix = try #require(BatchMix(augmentation, seed: 3, step: 2, height: 5, width: 6))
    let got = try mixed.batch(step: 2, size: 4, part: 0, of: 1).inputs
    let images = try plain.batch(step: 2, size: 4, part: 0, of: 1).inputs
    let reversed = stacked((0..<4).reversed().map { images[$0] })
    try expectClose(
      got, images * mix.share + reversed * (1 - mix.share), .roundings(16, of: .float32))
  }

  @Test func pastedRectanglesHaveTheAreaOfTheirShare() throws {
    var augmentation = ImageAugmentation()
    augmentation.cutmix = 1
    let (mixed, plain) = (try set(augmentation), try set(.none))
    for step in 0..<10 {
      let mix = try #require(BatchMix(augmentation, seed: 3, step: step, height: 5, width: 6))
      let got = try mixed.batch(step: step, size: 2, part: 0, of: 1).inputs.asArray(Float.self)
      let images = try plain.batch(step: step, size: 2, part: 0, of: 1).inputs.asArray(Float.self)
      let own = (0..<60).count { got[$0] == images[$0] }
      let others = (0..<60).count { got[$0] == images[60 + $0] }
      #expect(own + others == 60, "every pixel is one image's or the other's")
      #expect(abs(Float(own) / 60 - mix.share) < 1e-6)
    }
  }

  /// A crop of an image with a border of p pixels shows all but p rows and columns of it.
  @Test func cropsStayWithinTheBorder() {
    var augmentation = ImageAugmentation()
    augmentation.cropPadding = 3
    augmentation.fill = 0
    let white = ByteImage(
      height: 16, width: 16, channels: 1, pixels: [UInt8](repeating: 1, count: 256))
    let seen = (0..<200).map { slot in
      augmentation.applied(to: white, seed: 1, step: 0, slot: slot).pixels.count { $0 == 1 }
    }
    let possible = Set((0...3).flatMap { rows in (0...3).map { (16 - rows) * (16 - $0) } })
    #expect(seen.allSatisfy(possible.contains))
    #expect(seen.min() == 13 * 13 && seen.max() == 256)
  }

  @Test func halfOfTheImagesAreFlipped() {
    var augmentation = ImageAugmentation()
    augmentation.flips = true
    let flipped = (0..<1000).count { slot in
      augmentation.applied(to: coloured, seed: 1, step: 0, slot: slot) == coloured.flipped()
    }
    // Four deviations of a fair coin.
    #expect(abs(flipped - 500) < 64)
  }

  @Test func numbersOutOfRangeAreRefused() {
    var augmentation = ImageAugmentation()
    augmentation.mixup = .nan
    #expect(throws: DatasetError.self) { try augmentation.validate() }
    augmentation = ImageAugmentation()
    augmentation.cropPadding = -1
    #expect(throws: DatasetError.self) { try augmentation.validate() }
    augmentation = ImageAugmentation()
    augmentation.randAugment = RandAugment(operations: 2, magnitude: 11)
    #expect(throws: DatasetError.self) { try augmentation.validate() }
  }
}
