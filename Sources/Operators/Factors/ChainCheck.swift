import Kernels
import MLX
import OrderedCollections

/// Chains of Kronecker-sparse factors by the device in use, on a GPU divided as ``ChainPart`` expects to be
/// fastest, against the composed operations that define them, by the rule of ``KernelCheck``: products,
/// gradients and prepared weights.
enum ChainCheck {
  /// A butterfly, two factors whose blocks meet in several inner numbers, and sizes that are padded.
  static let cases: [(spec: String, rows: Int, inputs: Int, outputs: Int, dtype: DType)] = [
    ("ks:16x2x2x1+8x2x2x2+4x2x2x4+2x2x2x8+1x2x2x16", 700, 32, 32, .bfloat16),
    ("ks:32x32x32x1+4x8x8x32+1x4x4x256", 2049, 1024, 1024, .bfloat16),
    ("ks:6x16x16x1+1x24x24x4", 333, 96, 96, .float16),
    ("ks:6x16x16x1+2x12x12x4", 65, 93, 95, .float32),
  ]

  static func runs() -> [KernelCheck.Run] {
    cases.map { item in
      ("chain \(item.spec), \(item.rows) rows \(item.dtype.rawValue)", { try run(item) })
    }
  }

  private static func run(
    _ item: (spec: String, rows: Int, inputs: Int, outputs: Int, dtype: DType)
  ) throws -> [KernelCheck.Item] {
    let structure = try OperatorSpec(parsing: item.spec).makeOperator(
      inputs: item.inputs, outputs: item.outputs)
    let names = Array(structure.shapes.keys)
    let keys = MLXRandom.split(key: MLXRandom.key(11), into: 4)
    let weights = structure.initialize(key: keys[0])
    let primals =
      ([MLXRandom.normal([item.rows, item.inputs], key: keys[1])]
      + names.compactMap { weights[$0] } + [MLXRandom.normal([item.outputs], key: keys[2])])
      .map { $0.asType(item.dtype) }
    let cotangent = MLXRandom.normal([item.rows, item.outputs], key: keys[3]).asType(item.dtype)
    try eval(primals + [cotangent])

    func parameters(_ arrays: [MLXArray]) -> Parameters {
      Parameters(uniqueKeysWithValues: zip(names, arrays[1...]))
    }
    func results(
      _ primals: [MLXArray], _ cotangent: MLXArray, kernels: Bool
    ) throws -> [MLXArray] {
      let (values, gradients) = try vjp(
        { arrays in
          let bias = arrays[names.count + 1]
          return [
            kernels
              ? structure.kernelProduct(
                arrays[0], parameters(arrays), bias: bias, activation: .gelu)
              : structure.referenceProduct(
                arrays[0], parameters(arrays), bias: bias, activation: .gelu)
          ]
        }, primals: primals, cotangents: [cotangent])
      try eval(values + gradients)
      return values + gradients
    }
    let ours = try results(primals, cotangent, kernels: true)
    let again = try results(primals, cotangent, kernels: true)
    let plain = try results(primals, cotangent, kernels: false)
    let prepared = try structure.prepared(
      parameters(primals), rows: item.rows, dtype: item.dtype)
    let fixed = prepared?(primals[0], bias: primals[names.count + 1], activation: .gelu)
    try eval([fixed].compactMap(\.self))
    return try Device.withDefaultDevice(.cpu) {
      let exact = try results(
        primals.map { $0.asType(.float64) }, cotangent.asType(.float64), kernels: false)
      func compare(_ what: String, _ index: Int, _ array: MLXArray, _ others: [MLXArray]) throws
        -> KernelCheck.Item
      {
        try KernelCheck.Item(
          name: "chain \(item.spec), \(item.rows) rows \(item.dtype.rawValue)", what: what, array,
          others: others, plain: plain[index], exact: exact[index],
          floor: KernelCheck.Item.floor(of: item.dtype))
      }
      let labels = ["product"] + (["input"] + names + ["bias"]).map { "gradient of \($0)" }
      return try labels.enumerated().map { try compare($1, $0, ours[$0], [again[$0]]) }
        + [fixed].compactMap(\.self).map { try compare("prepared product", 0, $0, []) }
    }
  }
}
