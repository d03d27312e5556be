/// An image [H, W, C] of bytes and the operations on it that augmentation is made of.
///
/// Every operation keeps the size, rounds to nearest, and gives the same bytes on every machine.
struct ByteImage: Hashable, Sendable {
  let height: Int
  let width: Int
  let channels: Int
  var pixels: [UInt8]

  init(height: Int, width: Int, channels: Int, pixels: [UInt8]) {
    precondition(pixels.count == height * width * channels, "a byte a channel of each pixel")
    (self.height, self.width, self.channels, self.pixels) = (height, width, channels, pixels)
  }

  private subscript(y: Int, x: Int, channel: Int) -> UInt8 {
    pixels[(y * width + x) * channels + channel]
  }
}

// MARK: - Values

extension ByteImage {
  /// Each byte through a table of 256.
  private func mapped(_ value: (Float) -> Float) -> ByteImage {
    let table = (0...255).map { byte in
      UInt8(min(255, max(0, value(Float(byte)))).rounded(.toNearestOrEven))
    }
    var result = self
    for index in pixels.indices { result.pixels[index] = table[Int(pixels[index])] }
    return result
  }

  /// Values times a factor; 1 changes nothing, 0 is black.
  func brightness(_ factor: Float) -> ByteImage { mapped { $0 * factor } }

  /// Distances from the mean of the image times a factor; 1 changes nothing, 0 is gray.
  func contrast(_ factor: Float) -> ByteImage {
    let total = pixels.reduce(0) { $0 + Int($1) }
    let mean = Float(total) / Float(max(1, pixels.count))
    return factor == 1 ? self : mapped { mean + ($0 - mean) * factor }
  }

  /// The upper bits of each value, others zero; 8 changes nothing.
  func posterized(bits: Int) -> ByteImage {
    let mask = UInt8(truncatingIfNeeded: 0xFF00 >> min(8, max(0, bits)))
    return mapped { Float(UInt8($0) & mask) }
  }

  /// Values from the threshold up inverted; 256 changes nothing, 0 inverts.
  func solarized(from threshold: Float) -> ByteImage { mapped { $0 < threshold ? $0 : 255 - $0 } }

  /// 255 minus each value.
  func inverted() -> ByteImage { mapped { 255 - $0 } }
}

// MARK: - Places

extension ByteImage {
  /// Left and right exchanged.
  func flipped() -> ByteImage {
    var result = self
    for y in 0..<height {
      for x in 0..<width {
        for channel in 0..<channels {
          result.pixels[(y * width + x) * channels + channel] = self[y, width - 1 - x, channel]
        }
      }
    }
    return result
  }

  /// The image moved by whole pixels, right and down where positive, with `fill` where nothing came:
  /// a crop, of the same size, of the image with a border.
  func moved(right: Int, down: Int, fill: UInt8) -> ByteImage {
    var result = self
    for y in 0..<height {
      for x in 0..<width {
        let (fromY, fromX) = (y - down, x - right)
        let isInside = (0..<height).contains(fromY) && (0..<width).contains(fromX)
        for channel in 0..<channels {
          result.pixels[(y * width + x) * channels + channel] =
            isInside ? self[fromY, fromX, channel] : fill
        }
      }
    }
    return result
  }

  /// A linear map of the plane [[a, b], [c, d]], from places of the result to places of the image
  /// round its centre (x before y), then a shift; between pixels by bilinear interpolation.
  func sampled(
    _ a: Float, _ b: Float, _ c: Float, _ d: Float, right: Float = 0, down: Float = 0,
    fill: UInt8
  ) -> ByteImage {
    var result = self
    let (middleX, middleY) = (Float(width - 1) / 2, Float(height - 1) / 2)
    for y in 0..<height {
      for x in 0..<width {
        let (u, v) = (Float(x) - middleX - right, Float(y) - middleY - down)
        let (fromX, fromY) = (a * u + b * v + middleX, c * u + d * v + middleY)
        for channel in 0..<channels {
          result.pixels[(y * width + x) * channels + channel] = interpolated(
            fromY, fromX, channel, fill)
        }
      }
    }
    return result
  }

  private func interpolated(_ y: Float, _ x: Float, _ channel: Int, _ fill: UInt8) -> UInt8 {
    guard y > -1, x > -1, y < Float(height), x < Float(width) else { return fill }
    let (top, left) = (y.rounded(.down), x.rounded(.down))
    let (shareY, shareX) = (y - top, x - left)
    func value(_ y: Int, _ x: Int) -> Float {
      let isInside = (0..<height).contains(y) && (0..<width).contains(x)
      return Float(isInside ? self[y, x, channel] : fill)
    }
    let (y, x) = (Int(top), Int(left))
    let upper = value(y, x) * (1 - shareX) + value(y, x + 1) * shareX
    let lower = value(y + 1, x) * (1 - shareX) + value(y + 1, x + 1) * shareX
    return UInt8((upper * (1 - shareY) + lower * shareY).rounded(.toNearestOrEven))
  }
}
