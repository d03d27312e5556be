import MLX

/// A pseudo-random order of the numbers below a count, computed number by number.
///
/// A Feistel network of six rounds is a bijection of the pairs of half-words; walking its cycle
/// until a number below the count comes (Black and Rogaway, "Ciphers with arbitrary finite domains",
/// 2002) makes it one of 0 ..< count. There is no table and no state, so every process and machine
/// that knows the seed knows the order. Less than four steps of the walk are expected for a number.
public struct Permutation: Hashable, Sendable {
  /// How many numbers it orders.
  public let count: Int

  private let halfBits: UInt64
  private let keys: [UInt64]

  /// The order that a seed gives.
  public init(count: Int, seed: UInt64) {
    precondition(count >= 0, "a permutation orders no negative count of numbers")
    self.count = count
    let bits = UInt64(Int.bitWidth - max(count - 1, 1).leadingZeroBitCount)
    halfBits = (bits + 1) / 2
    keys = (0..<6).map { CounterRandom(seed, 0x5045_524D, $0).value }
  }

  /// The number at a position.
  public subscript(position: Int) -> Int {
    precondition(position >= 0 && position < count, "a position is below the count")
    var value = UInt64(position)
    repeat { value = encipher(value) } while value >= UInt64(count)
    return Int(value)
  }

  private func encipher(_ value: UInt64) -> UInt64 {
    let mask = (1 << halfBits) - 1 as UInt64
    var (left, right) = (value >> halfBits, value & mask)
    for key in keys {
      (left, right) = (right, left ^ (CounterRandom.mix(right ^ key) & mask))
    }
    return left << halfBits | right
  }
}

/// Random bits that depend on the words they are asked with and nothing else.
///
/// The words go through SplitMix64's finaliser (Steele, Lea, Flood, "Fast splittable pseudorandom
/// number generators", 2014) one after the other; as a generator it counts on from there.
struct CounterRandom: RandomNumberGenerator {
  private(set) var value: UInt64

  init(_ words: UInt64...) {
    value = words.reduce(SplitMix.step) { CounterRandom.mix($0 ^ $1 &+ SplitMix.step) }
  }

  static func mix(_ word: UInt64) -> UInt64 { SplitMix.mix(word &+ SplitMix.step) }

  mutating func next() -> UInt64 {
    value &+= SplitMix.step
    return CounterRandom.mix(value)
  }

  /// A number from 0 up to, but not, 1, of 24 bits: `Float` holds it exactly.
  mutating func unit() -> Float { Float(next() >> 40) * 0x1p-24 }

  /// A number below a bound; the excess of some over others is below bound / 2⁶⁴.
  mutating func below(_ bound: Int) -> Int {
    Int(next().multipliedFullWidth(by: UInt64(bound)).high)
  }
}
