extension Factors {
  /// How much larger than the first factor the second may be before padding is preferred.
  private static let mostUneven = 2

  /// The most even factors of a size, the smaller first, padded where the size has none that are
  /// even to within a factor of two.
  ///
  /// 384 = 16x24 and 11008 = 86x128 are exact; 152 = 8x19 is too lopsided and becomes 11x14. Even
  /// factors matter: with greedy ones such as 152 = 4x38, a Block Tensor-Train matrix of 64 inputs
  /// and 152 outputs has rank 32 at most.
  public static func balanced(_ size: Int) -> Factors {
    precondition(size > 0, "a size is positive")
    let root = Int(Double(size).squareRoot())
    var first = root
    while first >= 1, size / first <= mostUneven * first {
      if size.isMultiple(of: first) { return Factors(first, size / first) }
      first -= 1
    }
    // Two cores of these factors cost first · second · (first + second), padding included.
    let candidates = (max(1, root / 2)...(root + 1)).map { first in
      Factors(first, max(first, (size + first - 1) / first))
    }
    func cost(_ factors: Factors) -> Int { factors.product * (factors.first + factors.second) }
    return candidates.filter { $0.second <= mostUneven * $0.first }
      .min { cost($0) < cost($1) } ?? Factors(1, size)
  }

  /// The factors the other way round.
  var swapped: Factors { Factors(second, first) }

  /// These factors if they fit a size: at least as large, and less than twice as large.
  func fitting(_ size: Int, _ option: String) throws(SpecError) -> Factors {
    let (product, overflow) = first.multipliedReportingOverflow(by: second)
    guard first > 0, second > 0, !overflow, product >= size, product / 2 < size else {
      throw SpecError(
        "[spec] expected \(option)=\(self) to multiply to \(size), or a little more, which is "
          + "padded; write \(option)=\(Factors.balanced(size)), say.")
    }
    return self
  }
}
