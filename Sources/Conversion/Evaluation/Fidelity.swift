import MLX

/// How close a model's embeddings are to those of the model it was made from.
public struct Fidelity: Codable, Hashable, Sendable {
  /// The mean cosine between the two embeddings of a text.
  public var cosine: Double
  /// The smallest cosine.
  public var worstCosine: Double
  /// Spearman's correlation between the similarities of all pairs of texts.
  public var rankCorrelation: Double
  /// The share of texts whose nearest neighbour stays the same.
  public var neighbourAgreement: Double
  /// How many texts were compared.
  public var texts: Int

  /// Compares embeddings of the same texts, [S, D] each, in any scale.
  ///
  /// Throws if the shapes differ, if there are fewer than three texts, or if a number is not finite.
  public init(of embeddings: MLXArray, to reference: MLXArray) throws {
    guard embeddings.ndim == 2, embeddings.shape == reference.shape, embeddings.dim(0) >= 3 else {
      if let failure = embeddings.failure ?? reference.failure { throw failure }
      throw ConversionError(
        "[fidelity] expected embeddings of the same three or more texts, got shapes "
          + "\(embeddings.shape) and \(reference.shape).")
    }
    let ours = normalized(embeddings.asType(.float32))
    let theirs = normalized(reference.asType(.float32))
    let cosines = try sum(ours * theirs, axis: 1).asArray(Double.self)
    guard cosines.allSatisfy(\.isFinite) else {
      throw ConversionError("[fidelity] expected finite embeddings, got NaN or infinity.")
    }
    let texts = cosines.count
    self.texts = texts
    cosine = cosines.reduce(0, +) / Double(texts)
    worstCosine = cosines.min() ?? 0

    let similarities = try [ours, theirs].map {
      try matmul($0, $0.transposed()).asArray(Float.self)
    }
    rankCorrelation = correlation(
      ranks(pairs(of: similarities[0], count: texts)),
      ranks(pairs(of: similarities[1], count: texts)))
    let neighbours = similarities.map { nearestNeighbours($0, count: texts) }
    let same = zip(neighbours[0], neighbours[1]).count { $0 == $1 }
    neighbourAgreement = Double(same) / Double(texts)
  }
}

private func normalized(_ rows: MLXArray) -> MLXArray {
  rows / maximum(norm(rows, axes: [1], keepDims: true), 1e-12)
}

/// The elements above the diagonal of a [count, count] matrix.
private func pairs(of matrix: [Float], count: Int) -> [Float] {
  var result: [Float] = []
  result.reserveCapacity(count * (count - 1) / 2)
  for row in 0..<count { result += matrix[(row * count + row + 1)..<((row + 1) * count)] }
  return result
}

/// The position of each value in ascending order, equal values sharing the mean of theirs.
func ranks(_ values: [Float]) -> [Double] {
  let order = values.indices.sorted { values[$0] < values[$1] }
  var result = [Double](repeating: 0, count: values.count)
  var first = 0
  while first < order.count {
    var last = first
    while last + 1 < order.count, values[order[last + 1]] == values[order[first]] { last += 1 }
    for position in first...last { result[order[position]] = Double(first + last) / 2 }
    first = last + 1
  }
  return result
}

/// Pearson's correlation; 0 where a list is constant.
func correlation(_ a: [Double], _ b: [Double]) -> Double {
  let (meanA, meanB) = (a.reduce(0, +) / Double(a.count), b.reduce(0, +) / Double(b.count))
  var (ab, aa, bb) = (0.0, 0.0, 0.0)
  for (x, y) in zip(a, b) {
    ab += (x - meanA) * (y - meanB)
    aa += (x - meanA) * (x - meanA)
    bb += (y - meanB) * (y - meanB)
  }
  return aa > 0 && bb > 0 ? ab / (aa * bb).squareRoot() : 0
}

private func nearestNeighbours(_ matrix: [Float], count: Int) -> [Int] {
  (0..<count).map { row in
    var best = row == 0 ? 1 : 0
    for column in 0..<count where column != row {
      if matrix[row * count + column] > matrix[row * count + best] { best = column }
    }
    return best
  }
}
