/// NVIDIA's run-time compiler, opened while the program runs.
public struct NVRTC: Sendable {
  typealias Program = OpaquePointer
  private typealias Strings = UnsafePointer<UnsafePointer<CChar>?>
  private typealias Create =
    @convention(c) @Sendable (
      UnsafeMutablePointer<Program?>, UnsafePointer<CChar>, UnsafePointer<CChar>, Int32, Strings?,
      Strings?
    ) -> Int32
  private typealias Compile = @convention(c) @Sendable (Program, Int32, Strings) -> Int32
  private typealias Size =
    @convention(c) @Sendable (Program, UnsafeMutablePointer<Int>) -> Int32
  private typealias Read =
    @convention(c) @Sendable (Program, UnsafeMutableRawPointer) -> Int32
  private typealias Destroy =
    @convention(c) @Sendable (UnsafeMutablePointer<Program?>) -> Int32
  private typealias Version =
    @convention(c) @Sendable (UnsafeMutablePointer<Int32>, UnsafeMutablePointer<Int32>) -> Int32

  /// Where it was found.
  public let path: String
  /// Its version, such as "13.0".
  public let version: String
  private let create: Create
  private let compile: Compile
  private let logSize: Size
  private let log: Read
  private let binarySize: Size
  private let binary: Read
  private let destroy: Destroy

  /// The compiler of this machine, or why there is none.
  public static let current: Result<NVRTC, KernelError> = Result { () throws(KernelError) in
    // Its builtins are found by name only once they are in the process.
    for minor in (0...9).reversed() {
      if SharedLibrary(["libnvrtc-builtins.so.13.\(minor)"]) != nil { break }
    }
    guard let library = SharedLibrary(["libnvrtc.so.13", "libnvrtc.so"]) else {
      throw KernelError(
        "[kernels] expected NVIDIA's run-time compiler libnvrtc.so.13, found none; install the "
          + "wheel nvidia-cuda-nvrtc or a CUDA 13 toolkit, and see that the loader finds it.")
    }
    return try NVRTC(library)
  }

  private init(_ library: SharedLibrary) throws(KernelError) {
    guard let version: Version = library.function("nvrtcVersion"),
      let create: Create = library.function("nvrtcCreateProgram"),
      let compile: Compile = library.function("nvrtcCompileProgram"),
      let logSize: Size = library.function("nvrtcGetProgramLogSize"),
      let log: Read = library.function("nvrtcGetProgramLog"),
      let binarySize: Size = library.function("nvrtcGetCUBINSize"),
      let binary: Read = library.function("nvrtcGetCUBIN"),
      let destroy: Destroy = library.function("nvrtcDestroyProgram")
    else {
      throw KernelError(
        "[kernels] expected NVRTC 11 or newer, got \(library.path) without its functions; install "
          + "the wheel nvidia-cuda-nvrtc.")
    }
    var (major, minor): (Int32, Int32) = (0, 0)
    _ = version(&major, &minor)
    path = library.path
    self.version = "\(major).\(minor)"
    self.create = create
    self.compile = compile
    self.logSize = logSize
    self.log = log
    self.binarySize = binarySize
    self.binary = binary
    self.destroy = destroy
  }

  /// The machine code of a kernel for an architecture such as `sm_90a`.
  ///
  /// Throws the compiler's own words.
  public func compile(
    _ variant: KernelVariant, architecture: String
  ) throws(KernelError) -> [UInt8] {
    guard let names = DeviceCode.closure(of: variant.file),
      let source = DeviceCode.files[variant.file]
    else {
      throw KernelError("[kernels] expected all that \(variant.file) includes, found not all.")
    }
    let headers = names.filter { $0 != variant.file }
    let texts = headers.compactMap { DeviceCode.files[$0] }
    let arguments = variant.arguments(architecture: architecture)
    var program: Program?
    let created = withCStrings(texts) { texts in
      withCStrings(headers) { headers in
        create(
          &program, source, variant.file, Int32(texts.count), texts.baseAddress, headers.baseAddress
        )
      }
    }
    guard created == 0, let program else {
      throw KernelError("[kernels] NVRTC \(version) could not begin \(variant.name): \(created).")
    }
    defer {
      var ended: Program? = program
      _ = destroy(&ended)
    }
    let status = withCStrings(arguments) { arguments in
      arguments.baseAddress.map { compile(program, Int32(arguments.count), $0) } ?? -1
    }
    guard status == 0 else {
      let text = String(decoding: bytes(of: program, logSize, log).dropLast(), as: UTF8.self)
      throw KernelError(
        "[kernels] NVRTC \(version) could not compile \(variant.name) for \(architecture): \(text)")
    }
    return bytes(of: program, binarySize, binary)
  }

  private func bytes(of program: Program, _ size: Size, _ read: Read) -> [UInt8] {
    var count = 0
    guard size(program, &count) == 0, count > 0 else { return [] }
    return [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      guard let address = buffer.baseAddress, read(program, address) == 0 else { return }
      initialized = count
    }
  }
}

/// Calls the body with the strings as C has them.
private func withCStrings<Result>(
  _ strings: [String], _ body: (UnsafeBufferPointer<UnsafePointer<CChar>?>) -> Result
) -> Result {
  let all = strings.flatMap { Array($0.utf8CString) }
  return all.withUnsafeBufferPointer { characters in
    var start = 0
    let pointers = strings.map { string in
      defer { start += string.utf8.count + 1 }
      return characters.baseAddress.map { $0 + start }
    }
    return pointers.withUnsafeBufferPointer(body)
  }
}
