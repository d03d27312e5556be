import MLX

/// How a cluster of blocks divides a pair, and the kernel that does so.
protocol PairDivision: Sendable {
  /// What it divides.
  var shape: PairShape { get }
  /// Clusters that share the output pieces of each row, and what one of them multiplies.
  var shares: Int { get }
  var divided: PairShape { get }
  /// Blocks of a cluster, and rows of its step.
  var cluster: Int { get }
  var stepRows: Int { get }
  /// Inner indices of a block, and groups of eight in an intermediate row of one output piece.
  var inner: Int { get }
  var chunks: Int { get }
  /// Words of both cores as the kernel reads them.
  var words: Int { get }
  /// Bytes of shared memory of a block.
  var sharedBytes: Int { get }
  /// Seconds expected for so many rows.
  func seconds(rows: Int, gpu: GPU) -> Double
  /// The intermediate as the kernel leaves it for so many rows, a row of it for each of its steps or of the batch, and as the
  /// operand of a weight gradient.
  func keptShape(rows: Int) -> [Int]
  func keptBlocks(_ z: MLXArray) -> FactorKernels.Blocks
  /// Whether blocks need room for tensor maps of x, whose address the kernel learns when it runs.
  var takesMaps: Bool { get }

  /// The kernel's file and role, and those of the one that packs the cores.
  static var product: (file: String, role: String) { get }
  static var packing: (file: String, role: String) { get }
  /// Constants of the packing beside the sizes.
  var packingOptions: [String: Int] { get }
  /// The constants of the product beside those of the packing.
  func productOptions(_ epilogue: FactorEpilogue) -> [String: Int]
}

extension PairDivision {
  var shares: Int { 1 }
  var divided: PairShape { shape }
  var packingOptions: [String: Int] { [:] }

  /// The numbers between the cores in a row of one output piece, padding included.
  var paddedInner: Int { 8 * chunks }

  /// Whether every run of outputs starts at a multiple of its size.
  var isOutputAligned: Bool { shape.n1 % (2 * runTiles) == 0 }

  /// Tiles of eight outputs in a lane's run, and in all of an output piece.
  var runTiles: Int {
    switch shape.n1 {
    case 24...32, 49...: 4
    case 12...: 2
    default: 1
    }
  }
  var columnTiles: Int { ceilDivide(shape.n1, 8 * runTiles) * runTiles }

  /// Whether a block would be without input or output pieces.
  var hasIdleBlocks: Bool {
    [divided.m1, divided.n0].contains { pieces in
      (cluster - 1) * ceilDivide(pieces, cluster) >= pieces
    }
  }

  private var sizes: [String: Int] {
    [
      "M0": divided.m0, "M1": divided.m1, "N0": divided.n0, "N1": divided.n1,
      "RANK": divided.rank, "CLUSTER": cluster,
    ].merging(packingOptions) { $1 }
  }

  /// The kernel that packs the cores.
  func packing(element: Int) -> KernelVariant {
    FactorKernels.variant(Self.packing.file, Self.packing.role, sizes, element: element)
  }

  /// The kernel of the product; with `keeps` it leaves the intermediate, without `writes` only that.
  func product(
    element: Int, _ epilogue: FactorEpilogue = .init(), keeps: Bool = false, writes: Bool = true
  ) -> KernelVariant {
    let options = sizes.merging(productOptions(epilogue)) { $1 }.merging([
      "SHARED": sharedBytes, "ACTIVATION": epilogue.activation.rawValue, "KEEP": keeps ? 1 : 0,
      "OUTPUT": writes ? 1 : 0,
    ]) { $1 }
    return FactorKernels.variant(
      Self.product.file, Self.product.role, options, element: element, shared: sharedBytes,
      cluster: cluster)
  }
}
