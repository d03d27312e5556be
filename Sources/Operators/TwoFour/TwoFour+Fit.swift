import MLX
import OrderedCollections

extension TwoFour {
  /// The two largest of each four, the optimum in the plain norm.
  ///
  /// In the norm of the data: two of four by second-order saliency, the rest of the row making up for what is cut (SparseGPT,
  /// Frantar and Alistarh 2023, arXiv 2301.00774), then least squares with the places held.
  public func fit(_ target: FitTarget) throws -> Parameters {
    let target = try target.checked(for: self)
    let weight = paddedMatrix(target.weight, outputs, 4 * groups)
    let plain = compressed(weight, saliency: abs(weight))
    try eval(Array(plain.values))
    guard let moment = target.secondMoment else { return plain }

    let padded = paddedMatrix(moment, 4 * groups, 4 * groups)
    let candidates = try [secondOrder(weight, padded), plain].map { start in
      try refined(start, weight, padded)
    }
    return candidates.min { $0.error < $1.error }?.parameters ?? plain
  }

  /// The best values at given places: every row of W a least squares problem of its own, solved by
  /// conjugate gradients with the diagonal of H as preconditioner, all rows at once.
  ///
  /// Also returns the squared error tr(Δ H Δᵀ). Cost: N·K² multiply-adds a step.
  private func refined(
    _ start: Parameters, _ weight: MLXArray, _ moment: MLXArray
  ) throws -> (parameters: Parameters, error: Double) {
    let tiny = MLXArray(Float.leastNormalMagnitude)
    let scale = maximum(diag(moment), 1e-6 * mean(diag(moment)) + tiny)
    let mask = spread(.ones([outputs, 2 * groups]), start)
    var values = spread(parameter("values", of: start), start)
    var pull = matmul(weight - values, moment)
    var residual = pull * mask
    var direction = residual / scale
    var size = sum(residual * direction, axis: 1, keepDims: true)
    for _ in 0..<12 {
      let image = matmul(direction, moment)
      let step = size / maximum(sum(direction * image, axis: 1, keepDims: true), tiny)
      values = values + step * direction
      pull = pull - step * image
      residual = pull * mask
      let preconditioned = residual / scale
      let next = sum(residual * preconditioned, axis: 1, keepDims: true)
      direction = preconditioned + (next / maximum(size, tiny)) * direction
      size = next
    }
    let places = parameter("indices", of: start).asType(.int32)
      .reshaped([outputs, groups, 2])
    let parameters: Parameters = [
      "values": takeAlong(values.reshaped([outputs, groups, 4]), places, axis: 2)
        .reshaped([outputs, 2 * groups]),
      "indices": parameter("indices", of: start),
    ]
    try eval(Array(parameters.values))
    return (parameters, try squaredNorm(weight - values, moment))
  }

  /// The two places of each group where the saliency [N, K] is largest, with the weights there.
  private func compressed(_ weight: MLXArray, saliency: MLXArray) -> Parameters {
    let shape = [outputs, groups, 4]
    let kept = ranks(saliency.reshaped(shape)).map { $0 .< 2 }
    let place = (0..<4).map { MLXArray(Int32($0)) }
    let first = which(kept[0], place[0], which(kept[1], place[1], place[2]))
    let second = which(kept[3], place[3], which(kept[2], place[2], place[1]))
    let places = stacked([first, second], axis: 2)
    return [
      "values": takeAlong(weight.reshaped(shape), places, axis: 2)
        .reshaped([outputs, 2 * groups]),
      "indices": places.asType(.uint8).reshaped([outputs, 2 * groups]),
    ]
  }

  /// How many of the four along the last axis are larger than each, [...] `int32` for each place; of
  /// equal ones the earlier counts as larger.
  ///
  /// By comparisons: MLX's sort, on a GPU, takes fewer rows than a layer has groups.
  private func ranks(_ saliency: MLXArray) -> [MLXArray] {
    let values = (0..<4).map { take(saliency, MLXArray(Int32($0)), axis: -1) }
    return (0..<4).map { place in
      (0..<4).filter { $0 != place }.map { other in
        let isLarger =
          other < place ? values[other] .>= values[place] : values[other] .> values[place]
        return isLarger.asType(.int32)
      }.reduce(MLXArray(Int32(0)), +)
    }
  }

  /// Columns from left to right: with U the upper Cholesky factor of H⁻¹, column j costs
  /// w² / U_jj² to cut, and cutting it changes the columns after it by −w / U_jj · U[j, j...].
  private func secondOrder(_ weight: MLXArray, _ moment: MLXArray) throws -> Parameters {
    let width = 4 * groups
    // One per cent of the mean eigenvalue, as the paper does.
    let ridge = maximum(1e-2 * mean(diag(moment)), MLXArray(Float.leastNormalMagnitude))
    let inverse = MLXLinalg.inv(moment + ridge * .eye(width))
    let factor = MLXLinalg.cholesky((inverse + inverse.transposed()) * 0.5, upper: true)
    try eval(factor)

    // Changes reach the columns of the same block at once, and those after it block by block.
    let block = 128
    var rest = weight
    var kept: [MLXArray] = []
    var saliencies: [MLXArray] = []
    for start in stride(from: 0, to: width, by: block) {
      let end = min(start + block, width)
      var columns = rest[0..., 0..<(end - start)]
      var errors: [MLXArray] = []
      for first in stride(from: start, to: end, by: 4) {
        let corner = factor[first..<first + 4, first..<end]
        let (values, saliency, error) = prunedGroup(columns[0..., 0..<4], corner)
        kept.append(values)
        saliencies.append(saliency)
        errors.append(error)
        columns = columns[0..., 4...] - matmul(error, corner[0..., 4...])
      }
      let cut = concatenated(errors, axis: 1)
      rest = rest[0..., (end - start)...] - matmul(cut, factor[start..<end, end...])
      try eval([rest] + kept + saliencies)
    }
    return compressed(
      concatenated(kept, axis: 1), saliency: concatenated(saliencies, axis: 1))
  }

  /// Cuts two of the four columns [N, 4] in each row, given their rows of U from the diagonal on.
  ///
  /// Returns the columns with the later two changed for the earlier cuts, the saliencies that
  /// chose, and the errors w / U_jj of the cut weights [N, 4].
  private func prunedGroup(
    _ columns: MLXArray, _ factor: MLXArray
  ) -> (values: MLXArray, saliency: MLXArray, errors: MLXArray) {
    let scales = stacked((0..<4).map { factor[$0, $0] })
    let saliency = abs(columns) / scales
    let isCut = ranks(saliency).map { ($0 .>= 2).asType(.float32) }
    var values = (0..<4).map { columns[0..., $0] }
    var errors: [MLXArray] = []
    for j in 0..<4 {
      let error = values[j] * isCut[j] / scales[j]
      errors.append(error)
      for later in (j + 1)..<max(4, j + 1) {
        values[later] = values[later] - error * factor[j, later]
      }
    }
    return (stacked(values, axis: 1), saliency, stacked(errors, axis: 1))
  }
}
