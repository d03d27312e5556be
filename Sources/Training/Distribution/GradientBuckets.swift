import MLX
import MLXNN
import MLXOptimizers
import OrderedCollections

/// Parameters, and gradients, laid end to end in a few long vectors: what processes exchange.
///
/// Many small exchanges would wait for the network, one large one for the whole backward pass; the
/// buckets are filled from the last layer, whose gradients are there first, so that they travel
/// while the rest is computed. All parameters of a bucket have one type and one treatment by the
/// optimiser.
///
/// Every vector ends with a number that is nothing but made of the exchange before it: the graph would
/// run exchanges that do not depend on each other at once, and in one group NCCL must not.
///
/// Source: Li et al., "PyTorch Distributed: experiences on accelerating data parallel training",
/// 2020, section 3.2.3, and its 25 MB.
struct GradientBuckets {
  /// One vector's contents.
  struct Bucket {
    var paths: [String] = []
    var shapes: [[Int]] = []
    let dtype: DType
    let treatment: ParameterGroup

    /// The numbers in it.
    var count: Int { shapes.reduce(0) { $0 + $1.reduce(1, *) } }
  }

  private(set) var buckets: [Bucket] = []
  /// What the length of every vector is a multiple of.
  private let divisor: Int

  /// Buckets of at most so many bytes (a larger parameter has one of its own) for parameters in the
  /// order of the forward pass.
  init(
    _ parameters: ModuleParameters, divisor: Int = 1, limit: Int = 25 << 20,
    treatment: (String) -> ParameterGroup = { _ in .init() }
  ) {
    struct Kind: Hashable {
      let dtype: DType
      let treatment: ParameterGroup
    }
    self.divisor = divisor
    var open: [Kind: Int] = [:]
    for (path, array) in parameters.reversed() {
      let kind = Kind(dtype: array.dtype, treatment: treatment(path))
      let bytes = array.size * array.dtype.size
      if let index = open[kind], (buckets[index].count * array.dtype.size) + bytes > limit {
        open[kind] = nil
      }
      let index = open[kind] ?? buckets.count
      if index == buckets.count {
        buckets.append(Bucket(dtype: kind.dtype, treatment: kind.treatment))
      }
      open[kind] = index
      buckets[index].paths.append(path)
      buckets[index].shapes.append(array.shape)
    }
  }

  /// The vector of a bucket, [count] and zeros, at least one, up to a multiple of the divisor; it
  /// waits for the result of the exchange before it.
  func vector(
    _ bucket: Bucket, of arrays: ModuleParameters, dtype: DType? = nil, after: MLXArray? = nil
  ) -> MLXArray {
    let dtype = dtype ?? bucket.dtype
    let flat = bucket.paths.map { path in
      let array = arrays[path] ?? MLXArray(failure: MLXError("[buckets] no array of \(path)."))
      return array.asType(dtype).reshaped(-1)
    }
    let missing = divisor - bucket.count % divisor
    let zeros = MLXArray.zeros([missing], dtype: dtype)
    let end = after.map { zeros + (ProcessGroup.trace(of: $0)).asType(dtype) } ?? zeros
    return concatenated(flat + [end], axis: 0)
  }

  /// The arrays of a bucket's vector by path.
  func arrays(_ bucket: Bucket, of vector: MLXArray) -> [(key: String, value: MLXArray)] {
    var start = 0
    return zip(bucket.paths, bucket.shapes).map { path, shape in
      let count = shape.reduce(1, *)
      defer { start += count }
      return (path, vector[start..<(start + count)].reshaped(shape))
    }
  }

  /// The mean of the gradients over the processes.
  func mean(_ gradients: ModuleParameters, over group: ProcessGroup) -> ModuleParameters {
    guard group.size > 1 else { return gradients }
    var result = gradients
    var previous: MLXArray?
    for bucket in buckets {
      let mean = group.mean(vector(bucket, of: gradients, after: previous))
      previous = mean
      for (path, array) in arrays(bucket, of: mean) { result[path] = array }
    }
    return result
  }
}
