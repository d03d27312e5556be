import MLX
import Testing

/// Expects the gradient of a scalar function to agree with central differences along random
/// directions: (f(x + hv) − f(x − hv)) / 2h against ⟨gradient, v⟩.
///
/// In float32 the difference quotient is good to about h² + 2⁻²⁴ |f| / h, so keep f of order one and
/// smooth; the default tolerance fits h = 10⁻².
public func expectGradient(
  of function: @escaping ([MLXArray]) -> MLXArray, at arguments: [MLXArray],
  step: Double = 1e-2, tolerance: Double = 2e-2, seed: UInt64 = 0,
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  let numbers = Array(arguments.indices)
  let gradients = try valueAndGrad(arguments, argumentNumbers: numbers) { [function($0)] }.gradients
  let keys = MLXRandom.split(key: MLXRandom.key(seed), into: max(2, arguments.count))
  for index in numbers {
    let direction = MLXRandom.normal(arguments[index].shape, key: keys[index])
    func value(_ amount: Double) throws -> Double {
      var moved = arguments
      moved[index] = arguments[index] + direction * amount
      return Double(try function(moved).item(Float.self))
    }
    let measured = (try value(step) - value(-step)) / (2 * step)
    let claimed = Double(try sum(gradients[index] * direction).item(Float.self))
    let scale = max(abs(measured), abs(claimed), 1e-3)
    if !(abs(measured - claimed) <= tolerance * scale) {
      Issue.record(
        "argument \(index): the gradient says \(claimed), the differences say \(measured)",
        sourceLocation: sourceLocation)
    }
  }
}
