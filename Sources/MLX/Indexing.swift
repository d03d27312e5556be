import CMLX

/// What a subscript of an array may hold for one axis: a position, a range, ``newAxis``, ``ellipsis``
/// or `stride(from:to:by:)`.
public protocol MLXArrayIndex {
  /// The operation on one axis.
  var indexOperation: IndexOperation { get }
}

/// What an index does to its axis.
public enum IndexOperation: Sendable {
  /// Takes one position, counted from the end where negative; the axis goes away.
  case position(Int)
  /// Takes the positions from `start` up to, not including, `stop`, counted from the end where
  /// negative, and clipped to the axis as in Python.
  case slice(start: Int?, stop: Int?, stride: Int)
  /// Adds an axis of size one.
  case newAxis
  /// Stands for as many whole axes as are not named.
  case ellipsis
}

/// A whole array index: ``newAxis`` or ``ellipsis``.
public struct SpecialIndex: MLXArrayIndex, Sendable {
  /// The operation on one axis.
  public let indexOperation: IndexOperation
}

/// An index that adds an axis of size one.
public let newAxis = SpecialIndex(indexOperation: .newAxis)

/// An index that stands for as many whole axes as are not named.
public let ellipsis = SpecialIndex(indexOperation: .ellipsis)

extension Int: MLXArrayIndex {
  /// Takes one position.
  public var indexOperation: IndexOperation { .position(self) }
}

extension Range<Int>: MLXArrayIndex {
  /// Takes the positions of the range.
  public var indexOperation: IndexOperation {
    .slice(start: lowerBound, stop: upperBound, stride: 1)
  }
}

extension ClosedRange<Int>: MLXArrayIndex {
  /// Takes the positions of the range.
  public var indexOperation: IndexOperation {
    .slice(start: lowerBound, stop: stop(after: upperBound), stride: 1)
  }
}

extension PartialRangeThrough<Int>: MLXArrayIndex {
  /// Takes the positions up to the upper bound.
  public var indexOperation: IndexOperation {
    .slice(start: nil, stop: stop(after: upperBound), stride: 1)
  }
}

/// The exclusive bound of a range that includes its last position, where −1 is the last of all.
private func stop(after last: Int) -> Int? { last == -1 ? nil : last + 1 }

extension PartialRangeFrom<Int>: MLXArrayIndex {
  /// Takes the positions from the lower bound on.
  public var indexOperation: IndexOperation { .slice(start: lowerBound, stop: nil, stride: 1) }
}

extension PartialRangeUpTo<Int>: MLXArrayIndex {
  /// Takes the positions below the upper bound.
  public var indexOperation: IndexOperation { .slice(start: nil, stop: upperBound, stride: 1) }
}

extension StrideTo<Int>: MLXArrayIndex {
  /// Takes every nth position.
  public var indexOperation: IndexOperation {
    let first = Array(prefix(2))
    guard let start = first.first else { return .slice(start: 0, stop: 0, stride: 1) }
    let step = first.count > 1 ? first[1] - start : 1
    let count = reduce(0) { count, _ in count + 1 }
    let stop = start + (count - 1) * step + (step > 0 ? 1 : -1)
    return .slice(start: start, stop: stop, stride: step)
  }
}

/// The positions start, start + stride, … of one axis, as many as `count`.
private struct AxisSlice {
  var start: Int
  var stride: Int
  var count: Int

  /// A single position.
  init(position: Int) {
    (start, stride, count) = (position, 1, 1)
  }

  /// The positions from `start` to before `stop` of an axis, clipped to it as in Python.
  init(start: Int?, stop: Int?, stride: Int, size: Int) {
    let lowest = stride < 0 ? -1 : 0
    let highest = stride < 0 ? size - 1 : size
    func clipped(_ value: Int) -> Int {
      min(max(value < 0 ? value + size : value, lowest), highest)
    }
    let first = start.map(clipped) ?? (stride < 0 ? highest : 0)
    // A negative stop of a negative stride means "through position 0", which no index can name,
    // unless the start counts from the end too.
    let fromEnd = (start ?? 0) < 0
    let end =
      stride < 0
      ? stop.map { $0 < 0 && !fromEnd ? -1 : clipped($0) } ?? -1 : stop.map(clipped) ?? size
    let span = stride < 0 ? first - end : end - first
    self.start = first
    self.stride = stride
    count = max(0, (span + abs(stride) - 1) / abs(stride))
  }

  /// The exclusive bound as MLX takes it, where −size − 1 stands for before position 0.
  func stop(size: Int) -> Int {
    let end = start + count * stride
    return stride < 0 && end < 0 ? -size - 1 : end
  }
}

/// A slice of an array, and the shape it has once single positions are dropped and axes added.
private struct ArraySlice {
  var axes: [AxisSlice] = []
  var shape: [Int] = []

  init(_ indices: [any MLXArrayIndex], of sizes: [Int]) throws(MLXError) {
    var operations = indices.map(\.indexOperation)
    let named = operations.count { operation in
      switch operation {
      case .position, .slice: true
      case .newAxis, .ellipsis: false
      }
    }
    guard named <= sizes.count else {
      throw MLXError(
        "[index] expected at most \(sizes.count) indices for shape \(sizes), got \(named).")
    }
    let whole = [IndexOperation](
      repeating: .slice(start: nil, stop: nil, stride: 1), count: sizes.count - named)
    let place = operations.firstIndex { if case .ellipsis = $0 { true } else { false } }
    let end = operations.count
    operations.replaceSubrange((place ?? end)..<(place.map { $0 + 1 } ?? end), with: whole)

    for operation in operations {
      let axis = axes.count
      switch operation {
      case .newAxis: shape.append(1)
      case .ellipsis: throw MLXError("[index] expected one ellipsis at most, got several.")
      case .position(let position):
        let index = position < 0 ? position + sizes[axis] : position
        guard sizes[axis] > index, index >= 0 else {
          throw MLXError(
            "[index] expected a position below \(sizes[axis]) on axis \(axis) of shape "
              + "\(sizes), got \(position).")
        }
        axes.append(AxisSlice(position: index))
      case .slice(let start, let stop, let stride):
        let slice = AxisSlice(start: start, stop: stop, stride: stride, size: sizes[axis])
        axes.append(slice)
        shape.append(slice.count)
      }
    }
  }

  var start: [Int32] { int32(axes.map(\.start)) }
  var stride: [Int32] { int32(axes.map(\.stride)) }
  var counts: [Int] { axes.map(\.count) }

  func stop(of sizes: [Int]) -> [Int32] {
    int32(zip(axes, sizes).map { $0.stop(size: $1) })
  }
}

extension MLXArray {
  /// The elements that the indices name, one index an axis; further axes are taken whole.
  ///
  /// Assigning makes this object, under all its names, stand for the array with those elements
  /// updated. An index outside the array gives a failed array.
  public subscript(_ indices: any MLXArrayIndex...) -> MLXArray {
    get {
      guard failure == nil else { return self }
      do throws(MLXError) {
        let slice = try ArraySlice(indices, of: shape)
        let (start, stop, stride) = (slice.start, slice.stop(of: shape), slice.stride)
        let kept = MLXArray.running([self]) {
          cmlx_slice(&$0, $1[0], start, stop, stride, start.count)
        }
        return slice.shape == slice.counts ? kept : kept.reshaped(slice.shape)
      } catch {
        return MLXArray(failure: error)
      }
    }
    set {
      guard failure == nil else { return }
      do throws(MLXError) {
        let slice = try ArraySlice(indices, of: shape)
        let (start, stop, stride) = (slice.start, slice.stop(of: shape), slice.stride)
        let update = broadcast(newValue.asType(dtype), to: slice.shape).reshaped(slice.counts)
        self.update(
          MLXArray.running([self, update]) {
            cmlx_slice_update(&$0, $1[0], $1[1], start, stop, stride, start.count)
          })
      } catch {
        update(MLXArray(failure: error))
      }
    }
  }

  /// The slices of the first axis at the given positions.
  public subscript(_ indices: MLXArray) -> MLXArray { MLX.take(self, indices, axis: 0) }

  /// Makes this object, under all its names, stand for the value of another array.
  ///
  /// So parameters get new values: whoever holds the object sees them. The other array may have
  /// another shape and type, and stays independent of this one.
  public func update(_ other: MLXArray) {
    guard other !== self else { return }
    let new = other.state.retained()
    if case .array(let handle) = state { cmlx_array_free(handle) }
    state = new
  }
}
