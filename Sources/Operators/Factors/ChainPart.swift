import Kernels
import MLX

/// A run of a chain that is computed at once: one step, or several Kronecker-sparse factors that are multiplied
/// into one first.
struct ChainPart: Hashable, Sendable {
  /// What is computed.
  let step: FactorStep
  /// The factors that it is the product of; none where nothing is multiplied.
  let factors: [KroneckerPattern]

  private init(step: FactorStep, factors: [KroneckerPattern]) {
    (self.step, self.factors) = (step, factors)
  }

  /// A step as it is.
  init(_ step: FactorStep) {
    self.init(step: step, factors: [])
  }

  /// Several steps as one; `nil` where they are not factors whose product is one.
  private init?(merging steps: ArraySlice<FactorStep>) {
    var factors: [KroneckerPattern] = []
    var whole: KroneckerPattern?
    for step in steps {
      guard case .factor(let pattern) = step else { return nil }
      guard let merged = whole.map({ pattern.after($0) }) ?? pattern, merged.isOfUsableSize,
        merged.nonZeros <= FactorMethod.largestMatrix
      else { return nil }
      whole = merged
      factors.append(pattern)
    }
    guard let whole, factors.count > 1 else { return nil }
    self.init(step: .factor(whole), factors: factors)
  }

  /// How many arrays it takes.
  var count: Int { factors.isEmpty ? step.count : factors.count }

  /// The arrays of the step; merged in float32 and rounded to a type once.
  func weights(_ weights: [MLXArray], dtype: DType) -> [MLXArray] {
    guard var pattern = factors.first, var whole = weights.first?.asType(.float32) else {
      return weights
    }
    for (next, weight) in zip(factors, weights).dropFirst() {
      guard let merged = next.after(pattern),
        let product = next.weight(weight.asType(.float32), after: pattern, whole)
      else {
        return [MLXArray(failure: MLXError("[\(next)] expected a factor that follows \(pattern)."))]
      }
      (pattern, whole) = (merged, product)
    }
    return [contiguous(whole.asType(dtype))]
  }

  /// What messages call it.
  var name: String {
    factors.isEmpty
      ? step.name : "factors \(factors.map(\.description).joined(separator: "+")) as \(step.name)"
  }

  // MARK: - The choice

  /// Seconds that multiplying the factors takes.
  func mergingSeconds(model: FactorModel) -> Double {
    guard case .factor(let pattern) = step, !factors.isEmpty else { return 0 }
    return Double(factors.count - 1) * model.forming(pattern.nonZeros, elementSize: 4)
  }

  /// Seconds that the part is expected to take: the product of prepared weights, or the product and its gradients
  /// with the merging, forward and backward.
  private func seconds(
    isPrepared: Bool, rows: Int, dtype: DType, model: FactorModel
  ) -> Double {
    let purposes: [FactorPurpose] = isPrepared ? [.preparedProduct] : [.product, .gradients]
    return purposes.reduce(
      isPrepared ? 0 : 3 * mergingSeconds(model: model)
    ) { sum, purpose in
      sum + step.choice(for: purpose, rows: rows, dtype: dtype, model: model).seconds
    }
  }

  private struct Question: Hashable {
    var steps: [FactorStep]
    var isPrepared: Bool
    var rows: Int
    var dtype: DType
  }

  private static let answers = Memo<Question, [ChainPart]>()

  /// The division of a chain that is expected to be fastest, found once for each chain, number of rows and
  /// type: of all that merge runs of factors, by dynamic programming over where a run ends.
  static func fastest(
    of steps: [FactorStep], isPrepared: Bool, rows: Int, dtype: DType, model: FactorModel
  ) -> [ChainPart] {
    guard steps.count > 1 else { return steps.map(ChainPart.init) }
    let question = Question(steps: steps, isPrepared: isPrepared, rows: rows, dtype: dtype)
    return answers.value(question) {
      var best: [(seconds: Double, parts: [ChainPart])] = [(0, [])]
      for end in 1...steps.count {
        let alternatives = (0..<end).compactMap { start -> (seconds: Double, parts: [ChainPart])? in
          guard
            let part = end - start == 1
              ? ChainPart(steps[start]) : ChainPart(merging: steps[start..<end])
          else { return nil }
          let seconds = part.seconds(isPrepared: isPrepared, rows: rows, dtype: dtype, model: model)
          return (best[start].seconds + seconds, best[start].parts + [part])
        }
        // A step alone is always there.
        best.append(alternatives.min { $0.seconds < $1.seconds } ?? (.infinity, []))
      }
      return best[steps.count].parts
    }
  }
}
