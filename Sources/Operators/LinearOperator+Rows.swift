import MLX
import OrderedCollections

extension LinearOperator {
  /// Applies a product of rows [M, K] → [M, N] to an array with any leading axes.
  ///
  /// `body` gets the rows and their number M, which may be 0.
  func onRows(_ x: MLXArray, _ body: (MLXArray, Int) -> MLXArray) -> MLXArray {
    guard x.failure == nil else { return x }
    guard x.dim(-1) == inputs else {
      return MLXArray(
        failure: MLXError(
          "[\(spec)] expected an input [..., \(inputs)], got \(x.shape); give rows of "
            + "\(inputs) numbers."))
    }
    let leading = Array(x.shape.dropLast())
    let rows = leading.reduce(1, *)
    return body(x.reshaped([rows, inputs]), rows).reshaped(leading + [outputs])
  }

  /// A parameter by name; a failed array where it is missing or has the wrong shape.
  func parameter(_ name: String, of parameters: Parameters) -> MLXArray {
    let expected = shapes[name] ?? []
    guard let array = parameters[name] else {
      return MLXArray(
        failure: MLXError(
          "[\(spec)] expected a parameter '\(name)' \(expected), got "
            + "\(parameters.keys.joined(separator: ", "))."))
    }
    guard array.failure != nil || array.shape == expected else {
      return MLXArray(
        failure: MLXError(
          "[\(spec)] expected '\(name)' to have shape \(expected), got \(array.shape)."))
    }
    return array
  }
}

/// The rows [M, K] with zeros appended to make K the given width.
func paddedColumns(_ x: MLXArray, to width: Int) -> MLXArray {
  let missing = width - x.dim(1)
  return missing > 0 ? padded(x, widths: [(0, 0), (0, missing)]) : x
}

/// The matrix with zeros appended to make it [height, width].
func paddedMatrix(_ x: MLXArray, _ height: Int, _ width: Int) -> MLXArray {
  let (rows, columns) = (height - x.dim(0), width - x.dim(1))
  return rows > 0 || columns > 0 ? padded(x, widths: [(0, rows), (0, columns)]) : x
}
