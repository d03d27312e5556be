import MLX
import MLXNN
import MLXOptimizers
import OrderedCollections

/// Each process keeps, and updates, its part of every bucket of parameters, and the parts are put
/// together after each update: the optimiser's memory falls with the number of processes.
///
/// The sums travel once as parts (or, where the back end cannot, as wholes) and the parameters once
/// back, as much in all as one sum of everything. AdamW treats every number for itself, so the
/// update is that of ``WholeUpdater``.
///
/// Source: Rajbhandari et al., "ZeRO: memory optimizations toward training trillion parameter
/// models", 2020, section 5.1 (stages 1 and 2).
final class ShardedUpdater: Updater {
  /// The parts, as a model of their own for the optimiser.
  private final class Parts: Module {
    @ParameterInfo var part: [MLXArray]

    init(_ parts: [MLXArray]) {
      _part = ParameterInfo(wrappedValue: parts)
    }
  }

  private let optimizer: OptimizerBase
  private let buckets: GradientBuckets
  private let group: ProcessGroup
  private let parts: Parts

  /// An updater; `makeOptimizer` gets the treatment of each path.
  init(
    for model: Module, group: ProcessGroup, treatment: @escaping (String) -> ParameterGroup,
    makeOptimizer: (@escaping (String) -> ParameterGroup) -> OptimizerBase
  ) throws {
    let parameters = model.trainableParameters()
    let buckets = GradientBuckets(parameters, divisor: group.size, treatment: treatment)
    self.buckets = buckets
    self.group = group
    parts = Parts(
      buckets.buckets.map {
        contiguous(group.part(buckets.vector($0, of: parameters, dtype: .float32)))
      })
    try eval(parts)
    let treatments = Dictionary(
      uniqueKeysWithValues: buckets.buckets.enumerated().map {
        ("part.\($0.offset)", $0.element.treatment)
      })
    optimizer = makeOptimizer { treatments[$0] ?? ParameterGroup() }
    optimizer.initialize(for: parts)
  }

  var learningRate: Float {
    get { optimizer.learningRate }
    set { optimizer.learningRate = newValue }
  }

  func innerState() -> [MLXArray] { parts.innerState() + optimizer.innerState() }

  func update(_ model: Module, gradients: ModuleParameters, clip: Float?) throws -> MLXArray {
    var means = ModuleParameters()
    var previous: MLXArray?
    for (index, bucket) in buckets.buckets.enumerated() {
      let mean = group.meanPart(buckets.vector(bucket, of: gradients, after: previous))
      previous = mean
      means["part.\(index)"] = mean
    }
    let (norm, factor) = clipping(group.sum(squaredNorm(means.values)), to: clip)
    try optimizer.update(model: parts, gradients: means, scale: factor)
    let last = try share(with: model, after: norm)
    return norm + ProcessGroup.trace(of: last)[0].asType(.float32)
  }

  /// Puts the parts of all processes into the model, one exchange after the other, and returns the
  /// last.
  private func share(with model: Module, after norm: MLXArray) throws -> MLXArray {
    var values = ModuleParameters()
    var last = norm
    for (bucket, part) in zip(buckets.buckets, parts.part) {
      last = group.gather(
        (part + ProcessGroup.trace(of: last).asType(.float32)).asType(bucket.dtype))
      for (path, array) in buckets.arrays(bucket, of: last) { values[path] = array }
    }
    try model.update(parameters: values, verify: .noUnusedKeys)
    return last
  }

  func wholeState() throws -> OrderedDictionary<String, MLXArray> {
    let own = optimizer.state
    var whole: OrderedDictionary<String, MLXArray> = [:]
    for key in ["step", "learningRate"] { whole[key] = own[key] }
    for (index, bucket) in buckets.buckets.enumerated() {
      var vectors: [(name: String, part: MLXArray)] = optimizer.stateNames.compactMap { name in
        own["part.\(index).\(name)"].map { (name, $0) }
      }
      if bucket.dtype.size < 4 { vectors.append(("master", parts.part[index])) }
      for (name, part) in vectors {
        let vector = group.gather(part)
        // One after the other: all processes have to exchange in the same order.
        try eval(vector)
        for (path, array) in buckets.arrays(bucket, of: vector) { whole["\(path).\(name)"] = array }
      }
    }
    return whole
  }

  func restore(_ state: OrderedDictionary<String, MLXArray>, for model: Module) throws {
    let parameters = model.trainableParameters()
    var own: [(key: String, value: MLXArray)] = []
    for key in ["step", "learningRate"] {
      if let value = state[key] { own.append((key, value)) }
    }
    func collected(_ bucket: GradientBuckets.Bucket, _ name: String) throws -> MLXArray {
      var arrays = ModuleParameters()
      for path in bucket.paths {
        guard let value = state["\(path).\(name)"] else {
          throw OptimizerError.missingState(key: "\(path).\(name)")
        }
        guard value.shape == parameters[path]?.shape else {
          throw OptimizerError.wrongState(
            key: "\(path).\(name)", expected: parameters[path]?.shape ?? [], got: value.shape)
        }
        arrays[path] = value
      }
      return contiguous(group.part(buckets.vector(bucket, of: arrays, dtype: .float32)))
    }
    for (index, bucket) in buckets.buckets.enumerated() {
      for name in optimizer.stateNames {
        own.append(("part.\(index).\(name)", try collected(bucket, name)))
      }
      parts.part[index].update(
        bucket.dtype.size < 4
          ? try collected(bucket, "master")
          : contiguous(group.part(buckets.vector(bucket, of: parameters, dtype: .float32))))
    }
    try optimizer.restore(own, for: parts)
    try eval(self)
  }

  func exact(_ path: String, _ parameter: MLXArray) -> MLXArray { parameter.asType(.float32) }
}
