import Foundation
import Reports

/// What this machine has for Tessera, and what is missing.
public struct Diagnosis: Codable, Sendable {
  /// One thing that was looked for.
  public struct Item: Codable, Sendable {
    /// What it is.
    public var name: String
    /// What was found.
    public var found: String
    /// How to get what is missing, `nil` where nothing is.
    public var advice: String?
  }

  /// The things looked for.
  public var items: [Item]

  /// Looks at this machine.
  public init() {
    let sheet = MachineSheet.current()
    items = [
      Item(name: "processor", found: "\(sheet.processor), \(sheet.cores) cores", advice: nil),
      Item(name: "vector units", found: Diagnosis.vectorUnits, advice: nil),
      Item(name: "engine", found: sheet.engine, advice: nil),
      Diagnosis.blas,
      Diagnosis.gpu,
      Diagnosis.compiler,
      Diagnosis.kernels,
      Diagnosis.library(
        "cuSPARSELt", ["libcusparseLt.so.0"],
        advice: "for 2:4 products on a GPU install the wheel nvidia-cusparselt-cu13."),
      Diagnosis.library(
        "NCCL", ["libnccl.so.2"],
        advice: "for several GPUs install the wheel nvidia-nccl-cu13."),
      Diagnosis.library(
        "NVML", ["libnvidia-ml.so.1"], advice: "it comes with NVIDIA's driver; energy needs it."),
      Diagnosis.python,
      Diagnosis.processes,
    ]
  }

  /// The items as text, advice under each that has some.
  public var table: String {
    let width = items.map(\.name.count).max() ?? 0
    return items.map { item in
      let line = item.name.padding(toLength: width + 2, withPad: " ", startingAt: 0) + item.found
      return item.advice.map { line + "\n" + String(repeating: " ", count: width + 2) + $0 } ?? line
    }.joined(separator: "\n")
  }

  private static var vectorUnits: String {
    let information = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    let flags = Set(
      information.split(separator: "\n").first { $0.hasPrefix("flags") }?
        .split(separator: " ").map(String.init) ?? [])
    let known = ["avx2", "fma", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16"]
    let present = known.filter(flags.contains)
    return present.isEmpty ? "none known" : present.joined(separator: ", ")
  }

  private static var blas: Item {
    let path = Engine.blas ?? "none"
    guard path.contains("openblas") else {
      return Item(
        name: "BLAS", found: path,
        advice: "matrix products run on a slow BLAS; install libopenblas-dev and build again.")
    }
    return Item(
      name: "BLAS",
      found: "\(path) as on \(Engine.blasCore), \(Engine.blasThreads) threads",
      advice: CPU.missingBLASCore.map {
        "it has kernels for wider vectors; set OPENBLAS_CORETYPE=\($0)."
      })
  }

  private static var gpu: Item {
    if Device.gpu.isAvailable {
      let information = Device.gpu.information
      let name = information["device_name"] ?? "unknown"
      let major = information["compute_capability_major"] ?? "?"
      let minor = information["compute_capability_minor"] ?? "?"
      return Item(name: "GPU", found: "\(name), compute capability \(major).\(minor)", advice: nil)
    }
    guard FileManager.default.fileExists(atPath: "/proc/driver/nvidia/version") else {
      return Item(
        name: "GPU", found: "no NVIDIA driver",
        advice: "computing on the CPU; to use a GPU host, see `make gpu-bundle`.")
    }
    return Item(
      name: "GPU", found: "an NVIDIA driver, but an engine without CUDA",
      advice: "run scripts/setup again: it takes the CUDA engine where there is a driver.")
  }

  private static var compiler: Item {
    switch NVRTC.current {
    case .success(let compiler):
      Item(name: "NVRTC", found: "\(compiler.version), \(compiler.path)", advice: nil)
    case .failure(let error):
      Item(
        name: "NVRTC", found: "none",
        advice: Device.gpu.isAvailable ? error.description : "only a GPU host needs it.")
    }
  }

  private static var kernels: Item {
    switch KernelLibrary.current {
    case .success(let library):
      Item(
        name: "kernels",
        found: "for \(library.gpu.architecture), kept in \(KernelCache.user.folder.path)",
        advice: nil)
    case .failure(let error):
      Item(
        name: "kernels", found: "none: products are composed of MLX operations",
        advice: error.description)
    }
  }

  private static func library(_ name: String, _ files: [String], advice: String) -> Item {
    let library = SharedLibrary(files)
    return Item(
      name: name, found: library?.path ?? "none",
      advice: library != nil || !Device.gpu.isAvailable ? nil : advice)
  }

  private static var python: Item {
    do {
      let python = try PythonInterpreter.find()
      let missing = ["tokenizers", "vl_convert"].filter {
        (try? python.folder(ofPackage: $0)) == nil
      }
      return Item(
        name: "Python", found: python.path,
        advice: missing.isEmpty
          ? nil
          : "without \(missing.joined(separator: " and ")): texts need tokenizers, charts "
            + "vl-convert-python.")
    } catch {
      return Item(name: "Python", found: "none", advice: "\(error)")
    }
  }

  private static var processes: Item {
    let found: [String] = ["mpi", "nccl"].filter { DistributedGroup.isAvailable(backend: $0) }
    return Item(
      name: "several processes", found: found.isEmpty ? "none" : found.joined(separator: ", "),
      advice: found.isEmpty ? "for several processes on CPUs install openmpi-bin." : nil)
  }
}
