import MLX

/// What a model is worth on some examples: the measures that suit its kind, of the model alone or
/// beside the one it was made from.
public struct Fidelity: Hashable, Sendable {
  /// What is measured.
  public enum Measure: String, CaseIterable, Hashable, Sendable, CodingKey {
    /// The mean cosine between the two embeddings of a text.
    case cosine
    /// The smallest cosine.
    case worstCosine
    /// Spearman's correlation between the similarities of all pairs of texts.
    case rankCorrelation
    /// The share of texts whose nearest neighbour stays the same.
    case neighbourAgreement
    /// Spearman's correlation between the cosine of two texts and their score.
    case scoreCorrelation
    /// The exponential of the mean cross-entropy of the next token.
    case perplexity
    /// That of the model it is compared with.
    case referencePerplexity
    /// The share of images whose largest logit is that of their class.
    case accuracy
    /// That of the model it is compared with.
    case referenceAccuracy
    /// The mean of KL(other ‖ model) over outputs, in nats.
    case divergence
    /// The share of outputs whose largest logit is the same.
    case agreement

    /// A few words.
    public var title: String {
      switch self {
      case .cosine: "cosine"
      case .worstCosine: "worst cosine"
      case .rankCorrelation: "rank correlation"
      case .neighbourAgreement: "same neighbour"
      case .scoreCorrelation: "rank correlation with the scores"
      case .perplexity: "perplexity"
      case .referencePerplexity: "dense perplexity"
      case .accuracy: "accuracy"
      case .referenceAccuracy: "dense accuracy"
      case .divergence: "KL"
      case .agreement: "same first choice"
      }
    }

    /// Whether a comparison in one line has room for it.
    var isOfTables: Bool { self != .worstCosine }
  }

  /// What is counted.
  public enum Unit: String, CaseIterable, Hashable, Sendable, CodingKey {
    /// Texts.
    case texts
    /// Tokens that have a next one.
    case tokens
    /// Images.
    case images
  }

  /// What the examples are.
  public var unit: Unit
  /// How many there are.
  public var count: Int
  /// What was measured.
  public private(set) var values: [Measure: Double] = [:]

  /// Nothing measured yet.
  init(unit: Unit, count: Int) {
    (self.unit, self.count) = (unit, count)
  }

  /// A measure; NaN where it does not suit the model or nothing was there to compare with.
  public subscript(_ measure: Measure) -> Double {
    get { values[measure] ?? .nan }
    set { values[measure] = newValue }
  }

  /// What was measured, what says most first.
  public var measures: [Measure] { Measure.allCases.filter { values[$0] != nil } }
}

extension Fidelity: Codable {
  /// An object with a number for each measure, and the number of examples under their unit.
  public func encode(to encoder: any Encoder) throws {
    var units = encoder.container(keyedBy: Unit.self)
    try units.encode(count, forKey: unit)
    var container = encoder.container(keyedBy: Measure.self)
    for measure in measures { try container.encode(self[measure], forKey: measure) }
  }

  /// Reads what ``encode(to:)`` wrote.
  public init(from decoder: any Decoder) throws {
    let units = try decoder.container(keyedBy: Unit.self)
    guard let unit = units.allKeys.first else {
      throw DecodingError.dataCorrupted(
        DecodingError.Context(
          codingPath: decoder.codingPath, debugDescription: "expected a number of examples"))
    }
    self.init(unit: unit, count: try units.decode(Int.self, forKey: unit))
    let container = try decoder.container(keyedBy: Measure.self)
    for measure in container.allKeys {
      values[measure] = try container.decode(Double.self, forKey: measure)
    }
  }
}

// MARK: - Embeddings

extension Fidelity {
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
    self.init(unit: .texts, count: texts)
    self[.cosine] = cosines.reduce(0, +) / Double(texts)
    self[.worstCosine] = cosines.min() ?? 0

    let similarities = try [ours, theirs].map {
      try matmul($0, $0.transposed()).asArray(Float.self)
    }
    self[.rankCorrelation] = correlation(
      ranks(pairs(of: similarities[0], count: texts)),
      ranks(pairs(of: similarities[1], count: texts)))
    let neighbours = similarities.map { nearestNeighbours($0, count: texts) }
    let same = zip(neighbours[0], neighbours[1]).count { $0 == $1 }
    self[.neighbourAgreement] = Double(same) / Double(texts)
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
