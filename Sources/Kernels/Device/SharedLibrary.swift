import Foundation
import MLX

#if canImport(Glibc)
  import Glibc
#endif

/// A shared library that is opened while the program runs, or is found missing.
public struct SharedLibrary: Sendable {
  /// What is opened, such as `libnvrtc.so.13` or a path.
  public let path: String
  /// What `dlopen` gave: never closed, so that it is valid for the life of the process.
  private let address: UInt

  /// Opens the first of the names that the loader finds, or that lies in one of the folders.
  ///
  /// `nil` where there is none.
  public init?(_ names: [String], folders: [String] = SharedLibrary.nvidiaFolders) {
    let candidates = names + folders.flatMap { folder in names.map { folder + "/" + $0 } }
    for candidate in candidates {
      if let handle = dlopen(candidate, RTLD_NOW | RTLD_GLOBAL) {
        path = candidate
        address = UInt(bitPattern: handle)
        return
      }
    }
    return nil
  }

  /// The address of a symbol as a C function of the given type, `nil` if there is no such symbol.
  func function<F>(_ name: String, as type: F.Type = F.self) -> F? {
    guard let symbol = dlsym(UnsafeMutableRawPointer(bitPattern: address), name) else { return nil }
    return unsafeBitCast(symbol, to: F.self)
  }

  /// Where NVIDIA's libraries lie beside the engine's wheel, or in a CUDA toolkit.
  public static let nvidiaFolders: [String] = {
    var folders: [String] = []
    if let engine = Engine.path {
      // site-packages/mlx/lib/libmlx.so, possibly reached through a link.
      let packages = URL(filePath: engine).resolvingSymlinksInPath()
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
      folders += ["cu13", "cusparselt", "nccl"].map {
        packages.appending(path: "nvidia/\($0)/lib").path
      }
    }
    let environment = ProcessInfo.processInfo.environment
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].compactMap { environment[$0] } + ["/usr/local/cuda"]
    return folders + toolkits.map { $0 + "/lib64" }
  }()
}
