/// The 64-bit hash FNV-1a (Fowler, Noll, Vo), the same in every process, unlike Swift's own.
package func fnv1a(_ bytes: some Sequence<UInt8>) -> UInt64 {
  bytes.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
}
