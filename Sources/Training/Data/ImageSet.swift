import MLX

/// Images of one size, each of one class.
///
/// Inputs are `float32` [B, H, W, C], of mean 0 and deviation 1 a channel over the training part.
/// Targets are classes [B] of `int32`; where the augmentation mixes images, shares of classes
/// [B, classes] of `float32` that sum to 1.
public struct ImageSet: RawBatchSource {
  /// The number of images.
  public let count: Int
  /// Rows of an image.
  public let height: Int
  /// Columns of an image.
  public let width: Int
  /// Bytes of a pixel.
  public let channels: Int
  /// The names of the classes.
  public let classes: [String]
  /// What becomes of images on their way into a batch of ``batch(step:size:part:of:)``.
  public let augmentation: ImageAugmentation

  private let images: MappedFile
  private let labelFile: MappedFile
  private var scales: [Float]
  private var offsets: [Float]
  private let shuffle: Shuffle

  init(
    _ dataset: Dataset, _ part: DatasetPart, augmentation: ImageAugmentation, seed: UInt64
  ) throws {
    guard case .images(let height, let width, let channels, let classes) = dataset.header.kind
    else {
      throw dataset.isNot("images")
    }
    try augmentation.validate()
    let array = try dataset.array(part, "images", dtypes: [.uint8], rank: 4)
    let labelled = try dataset.array(part, "labels", dtypes: [.int32], rank: 1)
    let count = array.shape[0]
    guard array.shape == [count, height, width, channels], labelled.shape == [count] else {
      throw dataset.malformed(
        "expected images [\(count), \(height), \(width), \(channels)] and as many labels, "
          + "got \(array.shape) and \(labelled.shape)")
    }
    guard count > 0 else { throw DatasetError.tooSmall(part: part.rawValue, reason: "no images") }
    let means = dataset.header.facts["mean"] ?? []
    let deviations = dataset.header.facts["deviation"] ?? []
    guard means.count == channels, deviations.count == channels, deviations.allSatisfy({ $0 > 0 })
    else {
      throw dataset.malformed(
        "expected the facts mean and deviation, one a channel")
    }
    (self.count, self.height, self.width, self.channels) = (count, height, width, channels)
    (self.classes, self.augmentation) = (classes, augmentation)
    images = try dataset.map(part, "images")
    labelFile = try dataset.map(part, "labels")
    (scales, offsets) = ([], [])
    shuffle = Shuffle(count: count, seed: seed)
    scale(means, deviations)
  }

  /// The images scaled otherwise, as a pretrained model has it: of the given means and deviations a
  /// channel, of pixels from 0 to 1.
  ///
  /// Throws ``DatasetError`` where there are not as many as channels, or a deviation is not positive.
  public func normalized(means: [Double], deviations: [Double]) throws -> ImageSet {
    guard means.count == channels, deviations.count == channels, deviations.allSatisfy({ $0 > 0 })
    else {
      throw DatasetError.badBatch(
        reason: "expected a mean and a positive deviation for each of \(channels) channels, got "
          + "\(means) and \(deviations)")
    }
    var result = self
    result.scale(means, deviations)
    return result
  }

  private mutating func scale(_ means: [Double], _ deviations: [Double]) {
    scales = deviations.map { Float(1 / (255 * $0)) }
    offsets = zip(means, deviations).map { Float(-$0 / $1) }
  }

  /// Bytes of images and their classes.
  public struct Raw: Sendable {
    let pixels: [UInt8]
    let labels: [Int32]
    /// What is mixed in, where the step mixes.
    let partners: (pixels: [UInt8], labels: [Int32], share: Float)?
    let hasShares: Bool
  }

  /// The images of a request, augmented.
  public func raw(_ request: BatchRequest) throws -> Raw {
    let seed = shuffle.seed
    let mix = BatchMix(augmentation, seed: seed, step: request.step, height: height, width: width)
    func part(_ slots: [Int]) throws -> (pixels: [UInt8], labels: [Int32]) {
      let indices = shuffle.indices(request, slots: slots)
      var pixels: [UInt8] = []
      pixels.reserveCapacity(slots.count * height * width * channels)
      for (slot, index) in zip(slots, indices) {
        pixels +=
          augmentation.applied(
            to: image(index), seed: seed, step: request.step, slot: slot
          ).pixels
      }
      return (pixels, try self.labels(of: indices))
    }
    var (pixels, labels) = try part(Array(request.slots))
    guard let mix else {
      return Raw(pixels: pixels, labels: labels, partners: nil, hasShares: augmentation.mixes)
    }
    let other = try part(request.slots.map { BatchMix.partner(of: $0, size: request.size) })
    guard case .rectangle(let rows, let columns, _) = mix else {
      return Raw(
        pixels: pixels, labels: labels, partners: (other.pixels, other.labels, mix.share),
        hasShares: true)
    }
    for image in 0..<labels.count {
      for row in rows {
        let start = ((image * height + row) * width + columns.lowerBound) * channels
        let end = start + columns.count * channels
        pixels.replaceSubrange(start..<end, with: other.pixels[start..<end])
      }
    }
    return Raw(
      pixels: pixels, labels: labels, partners: ([], other.labels, mix.share), hasShares: true)
  }

  /// Images in their stored order, not augmented; targets are classes [B].
  public func examples(_ range: Range<Int>) throws -> Batch {
    try check(range)
    let pixels = range.flatMap { image($0).pixels }
    return batch(
      of: Raw(
        pixels: pixels, labels: try labels(of: Array(range)), partners: nil, hasShares: false))
  }

  /// The arrays of a batch.
  public func batch(of raw: Raw) -> Batch {
    func array(_ pixels: [UInt8]) -> MLXArray {
      MLXArray(bytes: pixels, [raw.labels.count, height, width, channels], dtype: .uint8)
        .asType(.float32)
    }
    var inputs = array(raw.pixels)
    if let partners = raw.partners, !partners.pixels.isEmpty {
      inputs = inputs * partners.share + array(partners.pixels) * (1 - partners.share)
    }
    return Batch(
      inputs: inputs * MLXArray(scales) + MLXArray(offsets),
      targets: raw.hasShares ? shares(raw) : MLXArray(raw.labels))
  }

  private func shares(_ raw: Raw) -> MLXArray {
    var shares = [Float](repeating: 0, count: raw.labels.count * classes.count)
    let share = raw.partners?.share ?? 1
    for (row, label) in raw.labels.enumerated() {
      shares[row * classes.count + Int(label)] += share
      if let other = raw.partners?.labels[row] {
        shares[row * classes.count + Int(other)] += 1 - share
      }
    }
    return MLXArray(shares, [raw.labels.count, classes.count])
  }

  private func image(_ index: Int) -> ByteImage {
    let size = height * width * channels
    let pixels = images.withBytes { [UInt8]($0[index * size..<(index + 1) * size]) }
    return ByteImage(height: height, width: width, channels: channels, pixels: pixels)
  }

  private func labels(of indices: [Int]) throws -> [Int32] {
    let found = labelFile.withBytes { bytes in
      let words = bytes.assumingMemoryBound(to: Int32.self)
      return indices.map { Int32(littleEndian: words[$0]) }
    }
    if let wrong = found.first(where: { $0 < 0 || $0 >= classes.count }) {
      throw DatasetError.badBatch(
        reason:
          "expected classes from 0 to \(classes.count - 1), got \(wrong); prepare the set again")
    }
    return found
  }
}
