import MLX

/// What is applied to the outputs where they are written: activation(y + bias) · gate + residual.
public struct FactorEpilogue {
  /// [N].
  public var bias: MLXArray?
  /// Applied to y + bias.
  public var activation: KernelActivation
  /// [M, N] each.
  public var gate: MLXArray?, residual: MLXArray?

  /// Describes an epilogue.
  public init(
    bias: MLXArray? = nil, activation: KernelActivation = .none, gate: MLXArray? = nil,
    residual: MLXArray? = nil
  ) {
    (self.bias, self.activation, self.gate, self.residual) = (bias, activation, gate, residual)
  }

  /// The arrays that are there, in the order bias, gate, residual.
  public var arrays: [MLXArray] { [bias, gate, residual].compactMap(\.self) }

  /// The same with the arrays of a gradient's trace, in that order.
  public func replacing(_ arrays: [MLXArray], dtype: DType) -> FactorEpilogue {
    var rest = arrays[...]
    func next(_ old: MLXArray?) -> MLXArray? { old == nil ? nil : rest.popFirst()?.asType(dtype) }
    return FactorEpilogue(
      bias: next(bias), activation: activation, gate: next(gate), residual: next(residual))
  }

  /// TESSERA_EPILOGUE's parts: bit 0 bias, bit 1 gate, bit 2 residual.
  var parts: Int {
    (bias == nil ? 0 : 1) + (gate == nil ? 0 : 2) + (residual == nil ? 0 : 4)
  }

  /// The kernel's inputs; what is not there may be any array.
  func inputs(instead other: MLXArray) -> [MLXArray] {
    [bias ?? other, gate ?? other, residual ?? other]
  }

  /// The same, composed of MLX operations.
  public func callAsFunction(_ y: MLXArray) -> MLXArray {
    var v = bias.map { y + $0 } ?? y
    v = activation(v)
    if let gate { v = v * gate }
    return residual.map { v + $0 } ?? v
  }

  /// Whether it only adds, so that the gradient of y is the result's.
  var isSum: Bool { activation == .none && gate == nil }

  /// The gradients of y and of ``arrays``, given y without any of it and the result's cotangent.
  func gradients(
    before: () throws -> MLXArray, cotangent: MLXArray
  ) throws -> (y: MLXArray, others: [MLXArray]) {
    if isSum {
      let others = [
        bias.map {
          (TrainingKernels.columnSum(cotangent) ?? sum(cotangent.asType(.float32), axis: 0))
            .asType($0.dtype)
        },
        residual.map { _ in cotangent },
      ]
      return (cotangent, others.compactMap(\.self))
    }
    let plain = try before()
    let primals = [plain.asType(.float32)] + arrays.map { $0.asType(.float32) }
    let gradients = try vjp(
      { [replacing(Array($0.dropFirst()), dtype: .float32)($0[0])] }, primals: primals,
      cotangents: [cotangent.asType(.float32)]
    ).gradients
    return (
      gradients[0].asType(plain.dtype),
      zip(gradients.dropFirst(), arrays).map { $0.asType($1.dtype) }
    )
  }
}

extension FactorEpilogue {
  /// epilogue(y) of a factor's product y of x and w, with the gradients of x, w and ``arrays``.
  ///
  /// `launch` makes epilogue(y), and `gradients` those of x and w from x, w and the cotangent of y.
  func product(
    _ x: MLXArray, _ w: MLXArray, dtype: DType,
    launch: @escaping (_ x: MLXArray, _ w: MLXArray, FactorEpilogue) throws -> MLXArray,
    gradients:
      @escaping (_ x: MLXArray, _ w: MLXArray, _ dy: MLXArray) throws -> (
        x: MLXArray, w: MLXArray
      )
  ) -> MLXArray {
    let function = CustomFunction(
      forward: { inputs in
        try launching {
          [try launch(inputs[0], inputs[1], replacing(Array(inputs[2...]), dtype: dtype))]
        }
      },
      backward: { primals, cotangents, _ in
        try launching {
          let (x, w, others) = (primals[0], primals[1], Array(primals[2...]))
          let own = try replacing(others, dtype: dtype).gradients(
            before: { try launch(x, w, .init()) }, cotangent: cotangents[0])
          let (dx, dw) = try gradients(x, w, own.y)
          return [dx, dw.asType(w.dtype)] + zip(own.others, others).map { $0.asType($1.dtype) }
        }
      })
    return function([x, w] + arrays)[0]
  }
}
