/// Which layers are meant, by path: `*` stands for any run of characters, `?` for one.
///
/// `encoder.layer.*.intermediate.dense`, `*.query`, `*`.
public struct LayerPattern: Hashable, Sendable, CustomStringConvertible {
  /// The pattern's text.
  public let description: String

  /// Makes a pattern.
  public init(_ text: String) {
    description = text
  }

  /// Whether a path matches, as a whole.
  public func matches(_ path: String) -> Bool {
    let pattern = Array(description.unicodeScalars)
    let text = Array(path.unicodeScalars)
    // Greedy with one point to come back to: the last star met. Linear in practice, quadratic at
    // worst, never exponential.
    var (p, t) = (0, 0)
    var star: (pattern: Int, text: Int)?
    while t < text.count {
      if p < pattern.count, pattern[p] == "*" {
        star = (p, t)
        p += 1
      } else if p < pattern.count, pattern[p] == "?" || pattern[p] == text[t] {
        p += 1
        t += 1
      } else if let last = star {
        star = (last.pattern, last.text + 1)
        p = last.pattern + 1
        t = last.text + 1
      } else {
        return false
      }
    }
    return pattern[p...].allSatisfy { $0 == "*" }
  }
}
