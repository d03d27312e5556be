/// Strassen's algorithm for 2×2 matrices, rank 7 (Gaussian Elimination is not Optimal, 1969).
///
/// One component a line, tiles row-major, C = A·B.
enum Strassen {
  static let name = "strassen"
  static let tile = 2
  static let rank = 7
  static let source = "V. Strassen 1969"

  static let activation = """
    1 0 0 1
    0 0 1 1
    1 0 0 0
    0 0 0 1
    1 1 0 0
    -1 0 1 0
    0 1 0 -1
    """

  static let weight = """
    1 0 0 1
    1 0 0 0
    0 1 0 -1
    -1 0 1 0
    0 0 0 1
    1 1 0 0
    0 0 1 1
    """

  static let decoder = """
    1 0 0 1
    0 0 1 -1
    0 1 0 1
    1 0 1 0
    -1 1 0 0
    0 0 0 1
    1 0 0 0
    """
}

/// Winograd's form of Strassen's algorithm, rank 7 with 15 additions (On multiplication of 2×2
/// matrices, 1971).
///
/// One component a line, tiles row-major, C = A·B.
enum Winograd {
  static let name = "winograd"
  static let tile = 2
  static let rank = 7
  static let source = "S. Winograd 1971"

  static let activation = """
    1 0 0 0
    0 1 0 0
    1 1 -1 -1
    0 0 0 1
    0 0 1 1
    -1 0 1 1
    1 0 -1 0
    """

  static let weight = """
    1 0 0 0
    0 0 1 0
    0 0 0 1
    1 -1 -1 1
    -1 1 0 0
    1 -1 0 1
    0 -1 0 1
    """

  static let decoder = """
    1 1 1 1
    1 0 0 0
    0 1 0 0
    0 0 -1 0
    0 1 0 1
    0 1 1 1
    0 0 1 1
    """
}

/// Laderman's algorithm for 3×3 matrices, rank 23 (A noncommutative algorithm for multiplying
/// 3×3 matrices using 23 multiplications, 1976).
///
/// One component a line, tiles row-major, C = A·B.
enum Laderman {
  static let name = "laderman"
  static let tile = 3
  static let rank = 23
  static let source = "J. D. Laderman 1976"

  static let activation = """
    1 1 1 -1 -1 0 0 -1 -1
    1 0 0 -1 0 0 0 0 0
    0 0 0 0 1 0 0 0 0
    -1 0 0 1 1 0 0 0 0
    0 0 0 1 1 0 0 0 0
    1 0 0 0 0 0 0 0 0
    -1 0 0 0 0 0 1 1 0
    -1 0 0 0 0 0 1 0 0
    0 0 0 0 0 0 1 1 0
    1 1 1 0 -1 -1 -1 -1 0
    0 0 0 0 0 0 0 1 0
    0 0 -1 0 0 0 0 1 1
    0 0 1 0 0 0 0 0 -1
    0 0 1 0 0 0 0 0 0
    0 0 0 0 0 0 0 1 1
    0 0 -1 0 1 1 0 0 0
    0 0 1 0 0 -1 0 0 0
    0 0 0 0 1 1 0 0 0
    0 1 0 0 0 0 0 0 0
    0 0 0 0 0 1 0 0 0
    0 0 0 1 0 0 0 0 0
    0 0 0 0 0 0 1 0 0
    0 0 0 0 0 0 0 0 1
    """

  static let weight = """
    0 0 0 0 1 0 0 0 0
    0 -1 0 0 1 0 0 0 0
    -1 1 0 1 -1 -1 -1 0 1
    1 -1 0 0 1 0 0 0 0
    -1 1 0 0 0 0 0 0 0
    1 0 0 0 0 0 0 0 0
    1 0 -1 0 0 1 0 0 0
    0 0 1 0 0 -1 0 0 0
    -1 0 1 0 0 0 0 0 0
    0 0 0 0 0 1 0 0 0
    -1 0 1 1 -1 -1 -1 1 0
    0 0 0 0 1 0 1 -1 0
    0 0 0 0 1 0 0 -1 0
    0 0 0 0 0 0 1 0 0
    0 0 0 0 0 0 -1 1 0
    0 0 0 0 0 1 1 0 -1
    0 0 0 0 0 1 0 0 -1
    0 0 0 0 0 0 -1 0 1
    0 0 0 1 0 0 0 0 0
    0 0 0 0 0 0 0 1 0
    0 0 1 0 0 0 0 0 0
    0 1 0 0 0 0 0 0 0
    0 0 0 0 0 0 0 0 1
    """

  static let decoder = """
    0 1 0 0 0 0 0 0 0
    0 0 0 1 1 0 0 0 0
    0 0 0 1 0 0 0 0 0
    0 1 0 1 1 0 0 0 0
    0 1 0 0 1 0 0 0 0
    1 1 1 1 1 0 1 0 1
    0 0 1 0 0 0 1 0 1
    0 0 0 0 0 0 1 0 1
    0 0 1 0 0 0 0 0 1
    0 0 1 0 0 0 0 0 0
    0 0 0 0 0 0 1 0 0
    0 1 0 0 0 0 1 1 0
    0 0 0 0 0 0 1 1 0
    1 1 1 1 0 1 1 1 0
    0 1 0 0 0 0 0 1 0
    0 0 1 1 0 1 0 0 0
    0 0 0 1 0 1 0 0 0
    0 0 1 0 0 1 0 0 0
    1 0 0 0 0 0 0 0 0
    0 0 0 0 1 0 0 0 0
    0 0 0 0 0 1 0 0 0
    0 0 0 0 0 0 0 1 0
    0 0 0 0 0 0 0 0 1
    """
}
