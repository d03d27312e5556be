import MLX
import TestSupport
import Testing

@Suite struct ShapeTests {
  private let x = arange(24).reshaped(2, 3, 4)

  @Test func axesArePermuted() throws {
    let values = try x.asArray(Int.self)
    let turned = x.transposed(2, 0, 1)
    #expect(turned.shape == [4, 2, 3])
    let expected = (0..<4).flatMap { c in
      (0..<2).flatMap { a in (0..<3).map { b in values[a * 12 + b * 4 + c] } }
    }
    #expect(try turned.asArray(Int.self) == expected)
    #expect(try x.T.asArray(Int.self) == x.transposed(2, 1, 0).asArray(Int.self))
    #expect(try x.movedAxis(source: 2, destination: 0).asArray(Int.self) == expected)
    #expect(x.swappedAxes(0, -1).shape == [4, 3, 2])
    #expect(try contiguous(turned).asArray(Int.self) == expected)
  }

  @Test func shapesChangeAndElementsStay() throws {
    let values = try x.asArray(Int.self)
    let shapes = [
      x.reshaped([6, -1]), x.reshaped(24), x.flattened(), x.flattened(start: 1),
      x.flattened(start: 0, end: 1), x.expandedDimensions(axis: 1),
      x.expandedDimensions(axes: [0, 4]),
      x.expandedDimensions(axis: 0).squeezed(axis: 0), x.expandedDimensions(axis: -1).squeezed(),
    ]
    #expect(
      shapes.map(\.shape) == [
        [6, 4], [24], [24], [2, 12], [6, 4], [2, 1, 3, 4], [1, 2, 3, 4, 1], [2, 3, 4], [2, 3, 4],
      ])
    for array in shapes { #expect(try array.asArray(Int.self) == values) }
    #expect(MLXArray(3).flattened().shape == [1])
    #expect(
      try MLXArray([1, 0] as [Float]).view(dtype: .int32).asArray(Int32.self) == [0x3f80_0000, 0])
  }

  @Test func wrongShapesFail() {
    for array in [
      x.reshaped(5, 5), x.reshaped(-1, -1), x.transposed(0, 0, 1), x.transposed(0, 1),
      x.squeezed(axis: 0), x.flattened(start: 2, end: 1), x.flattened(end: 5),
      x.swappedAxes(0, 3), x.expandedDimensions(axis: 9), broadcast(x, to: [3, 3, 4]),
      concatenated([x, MLXArray.ones([2, 2])]), stacked([x, x.T]), concatenated([]), stacked([]),
      split(x, parts: 5)[0], split(x, parts: -1)[0], padded(x, widths: [(1, 1)]),
      asStrided(x, [25], strides: [1]), asStrided(x, [2], strides: [-1]),
      asStrided(x, [1 << 40, 1 << 40], strides: [1 << 40, 1]), asStrided(x, [-2], strides: [1]),
      repeated(x, count: -1, axis: 0),
    ] { #expect(array.failure != nil) }
  }

  @Test func piecesConcatenateToTheWhole() throws {
    let halves = split(x, parts: 2, axis: 2)
    #expect(halves.map(\.shape) == [[2, 3, 2], [2, 3, 2]])
    #expect(try arrayEqual(concatenated(halves, axis: 2), x).item(Bool.self))
    let pieces = x.split(indices: [1, 2], axis: 1)
    #expect(pieces.count == 3)
    #expect(try arrayEqual(concatenated(pieces, axis: 1), x).item(Bool.self))
    let rows = [x[0], x[1]]
    #expect(try arrayEqual(stacked(rows), x).item(Bool.self))
    #expect(stacked(rows, axis: -1).shape == [3, 4, 2])
  }

  @Test func repeatsAndBorders() throws {
    let a = MLXArray([1, 2])
    #expect(try repeated(a, count: 2, axis: 0).asArray(Int.self) == [1, 1, 2, 2])
    #expect(try tiled(a, repetitions: [2]).asArray(Int.self) == [1, 2, 1, 2])
    #expect(try padded(a, widths: [(1, 2)]).asArray(Int.self) == [0, 1, 2, 0, 0])
    #expect(try padded(a, widths: [(0, 1)], value: MLXArray(7)).asArray(Int.self) == [1, 2, 7])
    #expect(padded(a.asType(.bfloat16), widths: [(1, 0)]).dtype == .bfloat16)
    #expect(try broadcast(a, to: [2, 2]).asArray(Int.self) == [1, 2, 1, 2])
  }

  @Test func stridesReadAnyPattern() throws {
    let windows = asStrided(arange(5), [3, 3], strides: [1, 1])
    #expect(try windows.asArray(Int.self) == [0, 1, 2, 1, 2, 3, 2, 3, 4])
    #expect(
      try asStrided(arange(4), [4], strides: [-1], offset: 3).asArray(Int.self) == [3, 2, 1, 0])
  }

  @Test func diagonals() throws {
    #expect(try diag(MLXArray([1, 2])).asArray(Int.self) == [1, 0, 0, 2])
    #expect(try diag(MLXArray([1, 2, 3, 4], [2, 2]), k: 1).asArray(Int.self) == [2])
    #expect(try diagonal(x, axis1: 1, axis2: 2).asArray(Int.self) == [0, 5, 10, 12, 17, 22])
  }
}
