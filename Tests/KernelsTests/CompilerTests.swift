import Foundation
import MLX
import TestSupport
import Testing

@testable import Kernels

private let compiler = try? NVRTC.current.get()

@Suite(.enabled(if: compiler != nil, "no NVRTC on this machine"))
struct CompilerTests {
  private static let small = KernelVariant(
    file: "BasisGradient.cu", role: "sum", options: ["SUM": 1])

  @Test func badSourcesGiveTheCompilersWords() throws {
    let compiler = try NVRTC.current.get()
    let variant = KernelVariant(
      file: "StrassenEncode.cu", role: "encode", options: ["ELEMENT": 0, "RANK": -1])
    let error = #expect(throws: KernelError.self) {
      try compiler.compile(variant, architecture: "sm_80")
    }
    #expect(error?.description.contains("encode_element0_rank-1") == true)
    #expect(throws: KernelError.self) {
      try compiler.compile(.init(file: "none.cu", role: "none"), architecture: "sm_80")
    }
  }

  // MARK: - The cache

  @Test func aKernelIsCompiledOnceForAKey() throws {
    let compiler = try NVRTC.current.get()
    try withTemporaryFolder { folder in
      let cache = KernelCache(folder: folder.appending(path: "kernels"))
      func code(_ architecture: String = "sm_80") throws -> [UInt8] {
        try cache.code(Self.small, architecture: architecture, compiler: compiler)
      }
      func entries() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: cache.folder.path).sorted()
      }
      let first = try code()
      #expect(first.starts(with: [0x7f, 0x45, 0x4c, 0x46]))
      let names = try entries()
      #expect(names.count == 1)
      // A kept entry is read, not made anew: change what is kept, with its seal.
      let entry = cache.folder.appending(path: names[0])
      let key = KernelCache.key(Self.small, architecture: "sm_80", compiler: compiler.version)
      let other: [UInt8] = [1, 2, 3]
      try Data(other).write(to: entry.appending(path: "code"))
      #expect(try code() == first, "a damaged entry is none")
      try Data(other).write(to: entry.appending(path: "code"))
      try Data("code \(KernelCache.digest(other)) of 3 bytes\n\(key)".utf8)
        .write(to: entry.appending(path: "key"))
      #expect(try code() == other)
      // Another architecture is another key.
      #expect(try code("sm_90a") != other)
      #expect(try entries().count == 2)
      let mode = try FileManager.default.attributesOfItem(atPath: cache.folder.path)
      #expect(mode[.posixPermissions] as? Int == 0o700)
    }
  }

  /// Warpgroups' kernels have names longer than a file's may be.
  @Test func aKernelWithManyOptionsIsKeptToo() throws {
    var long = Self.small
    for number in 0..<30 { long.options["UNUSED\(number)"] = number }
    #expect(long.name.utf8.count > 255)
    try withTemporaryFolder { folder in
      let cache = KernelCache(folder: folder.appending(path: "kernels"))
      _ = try cache.code(long, architecture: "sm_80", compiler: try NVRTC.current.get())
      #expect(try FileManager.default.contentsOfDirectory(atPath: cache.folder.path).count == 1)
    }
  }

  @Test func aFolderThatOthersMayWriteToIsNotUsed() throws {
    try withTemporaryFolder { folder in
      try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: folder.path)
      let cache = KernelCache(folder: folder)
      let code = try cache.code(
        Self.small, architecture: "sm_80", compiler: try NVRTC.current.get())
      #expect(!code.isEmpty)
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
    }
  }

  @Test func theKeyHoldsAllThatTheCodeDependsOn() {
    func key(_ variant: KernelVariant, _ architecture: String, _ compiler: String) -> String {
      KernelCache.key(variant, architecture: architecture, compiler: compiler)
    }
    let encode = KernelVariant(
      file: "StrassenEncode.cu", role: "encode", options: ["RANK": 7])
    var other = encode
    other.options["RANK"] = 8
    let base = key(encode, "sm_80", "13.0")
    #expect(base != key(other, "sm_80", "13.0"))
    #expect(base != key(encode, "sm_90a", "13.0"))
    #expect(base != key(encode, "sm_80", "13.1"))
    for text in DeviceCode.closure(of: encode.file)?.compactMap({ DeviceCode.files[$0] }) ?? [] {
      #expect(base.contains(text))
    }
  }
}

/// Compiles what a GPU of each generation would, also where there is no GPU.
@Suite(.enabled(if: compiler != nil, "no NVRTC on this machine"))
struct CompilationTests {
  private static let variants: [KernelVariant] = {
    var variants: Set<KernelVariant> = []
    for (rank, dtype) in [(16, DType.bfloat16), (49, .float16), (25, .float32)] {
      guard let all = try? StrassenTileKernels.variants(rank: rank, dtype: dtype) else { continue }
      variants.formUnion([
        all.encode, all.decode[1], all.stagedDecode[3], all.basisPartials, all.basisSum,
      ])
    }
    return variants.sorted { $0.name < $1.name }
  }()

  @Test(arguments: ["sm_80", "sm_90a", "sm_100a"])
  func allKernelsCompileFor(_ architecture: String) throws {
    #expect(Self.variants.count == 15)
    let compiler = try NVRTC.current.get()
    for variant in Self.variants {
      let code = try compiler.compile(variant, architecture: architecture)
      #expect(code.starts(with: [0x7f, 0x45, 0x4c, 0x46]), "\(variant.name)")
    }
  }

  /// The device code of factors with plans of the launcher: its assertions hold the launcher's
  /// arithmetic against the kernel's.
  private static let factorVariants: [KernelVariant] = {
    let h200 = GPU(
      major: 9, minor: 0, multiprocessors: 132, clock: 1.98e9, busBandwidth: 4.92e12,
      cache: 50 << 20)
    let all =
      PairKernels.variants(
        PairShape(m0: 24, m1: 32, n0: 16, n1: 40, rank: 1), dtype: .bfloat16, gradients: true)
      + PairKernels.variants(
        PairShape(m0: 7, m1: 5, n0: 6, n1: 9, rank: 3), dtype: .float16,
        epilogue: FactorEpilogue(activation: .gelu))
      + KroneckerKernels.variants(
        KroneckerShape(2, 16, 24, 3), rows: 512, dtype: .float16, gpu: h200, activation: .silu)
    return Set(all).sorted { $0.name < $1.name }
  }()

  @Test(arguments: ["sm_90a", "sm_100a"])
  func factorKernelsCompileFor(_ architecture: String) throws {
    let compiler = try NVRTC.current.get()
    #expect(Self.factorVariants.count == 8 + 3 + 2)
    for variant in Self.factorVariants {
      let code = try compiler.compile(variant, architecture: architecture)
      #expect(code.starts(with: [0x7f, 0x45, 0x4c, 0x46]), "\(variant.name)")
    }
  }

  @Test(arguments: ["sm_80", "sm_90a", "sm_100a"])
  func trainingKernelsCompileFor(_ architecture: String) throws {
    let compiler = try NVRTC.current.get()
    let all = TrainingKernels.variants(dtype: .bfloat16, columns: [768])
    #expect(Set(all.map(\.name)).count == 28)
    // One array in a launch, and as many as there can be.
    let ends = all.filter { ![2, 3, 4, 5, 6, 7].contains($0.options["COUNT"] ?? 1) }
    for variant in ends + TrainingKernels.variants(dtype: .float32, columns: [8192]).prefix(6) {
      let code = try compiler.compile(variant, architecture: architecture)
      #expect(code.starts(with: [0x7f, 0x45, 0x4c, 0x46]), "\(variant.name)")
    }
  }

  @Test func unknownTypesAndRanksAreRefused() {
    #expect(throws: KernelError.self) {
      try StrassenTileKernels.variants(rank: 65, dtype: .float16)
    }
    #expect(throws: KernelError.self) { try StrassenTileKernels.variants(rank: 16, dtype: .int32) }
  }

  /// The blocks of a cluster that machine code fixes: the attribute 0x3d of twelve bytes in `.nv.info`.
  private static func cluster(in code: [UInt8]) -> Int? {
    let pattern: [UInt8] = [0x04, 0x3d, 12, 0]
    let place = code.indices.dropLast(16).first { code[$0...].starts(with: pattern) }
    return place.map { Int(code[$0 + 4]) }
  }

  /// Warpgroups are Hopper's alone; turns compile everywhere.
  @Test func warpgroupKernelsCompileForHopper() throws {
    let h200 = GPU(
      major: 9, minor: 0, multiprocessors: 132, clock: 1.98e9, busBandwidth: 4.92e12,
      cache: 50 << 20)
    let bias = FactorEpilogue(bias: MLXArray.zeros([1]), activation: .gelu)
    let variants = [
      (KroneckerShape(2, 16, 24, 3), DType.float16, true), (.init(3, 50, 37, 7), .bfloat16, true),
      (.init(1, 48, 48, 16), .float32, true), (.init(1, 48, 48, 16), .float32, false),
      (.init(1, 64, 64, 16), .bfloat16, true), (.init(2, 64, 40, 32), .float16, true),
      (.init(1, 64, 96, 24), .bfloat16, true), (.init(2, 128, 128, 6), .float16, true),
      (.init(3, 80, 48, 12), .float32, false), (.init(2, 96, 384, 1), .bfloat16, true),
      (.init(2, 128, 512, 1), .float32, false), (.init(2, 64, 320, 4), .float32, false),
    ].flatMap { shape, dtype, allowsTF32 in
      KroneckerGroupsKernels.variants(
        shape, rows: 512, dtype: dtype, allowsTF32: allowsTF32, gpu: h200, epilogue: bias)
    }
    #expect(Set(variants).count == 24)
    let pairs = [
      (PairShape(m0: 24, m1: 32, n0: 16, n1: 40, rank: 1), DType.bfloat16),
      (.init(m0: 7, m1: 5, n0: 6, n1: 9, rank: 3), .float16),
      (.init(m0: 48, m1: 64, n0: 48, n1: 64, rank: 2), .bfloat16),
    ].flatMap { shape, dtype in
      PairKernels.variants(
        shape, dtype: dtype, byWarpgroups: true, epilogue: bias, gradients: true)
    }
    #expect(Set(pairs).count == 28)
    let compiler = try NVRTC.current.get()
    for variant in variants + pairs {
      let code = try compiler.compile(variant, architecture: "sm_90a")
      #expect(code.starts(with: [0x7f, 0x45, 0x4c, 0x46]), "\(variant.name)")
      #expect(variant.cluster == Self.cluster(in: code), "\(variant.name)")
    }
    #expect(Set((variants + pairs).map(\.cluster)).isSuperset(of: [nil, 1, 2, 8]))
    let turns = TurnedProducts.variants(
      KroneckerShape(2, 16, 24, 3), rows: 512, dtype: .float32, allowsTF32: true, gpu: h200,
      epilogue: bias, gradients: true)
    #expect(Set(turns).count == 5)
    for (variant, architecture) in zip(turns, ["sm_80", "sm_90a", "sm_100a", "sm_80", "sm_90a"]) {
      let code = try compiler.compile(variant, architecture: architecture)
      #expect(code.starts(with: [0x7f, 0x45, 0x4c, 0x46]), "\(variant.name)")
    }
  }
}
