import Foundation
import MLX

#if canImport(Glibc)
  import Glibc
#endif

/// Compiled kernels kept in a private folder between runs.
///
/// An entry is a folder with the machine code and its key: everything that the code depends on,
/// word for word. The name of an entry is only a place to look; what counts is that the key is the
/// same.
public struct KernelCache: Sendable {
  /// The folder of all entries.
  public let folder: URL

  /// A cache in a folder of the caller's.
  public init(folder: URL) {
    self.folder = folder
  }

  /// The user's cache: `tessera/kernels` in `$XDG_CACHE_HOME` or `~/.cache`.
  public static var user: KernelCache {
    let environment = ProcessInfo.processInfo.environment
    let root =
      environment["XDG_CACHE_HOME"].map { URL(filePath: $0) }
      ?? FileManager.default.homeDirectoryForCurrentUser.appending(path: ".cache")
    return KernelCache(folder: root.appending(path: "tessera/kernels"))
  }

  /// The kernel's machine code: from the cache, or compiled and then kept.
  ///
  /// A cache that cannot be used (no such folder, or one that others may write to) is left alone;
  /// only the compiler's errors are thrown.
  public func code(
    _ variant: KernelVariant, architecture: String, compiler: NVRTC
  ) throws(KernelError) -> [UInt8] {
    let key = KernelCache.key(variant, architecture: architecture, compiler: compiler.version)
    // Not the whole name: with all options it may be longer than a file's name can be.
    let entry = folder.appending(path: "\(variant.role)-\(KernelCache.digest(key.utf8))")
    let isUsable = prepare()
    if isUsable, let code = read(entry, key: key) { return code }
    let code = try compiler.compile(variant, architecture: architecture)
    if isUsable { write(code, key: key, to: entry) }
    return code
  }

  /// Everything that the machine code depends on.
  static func key(_ variant: KernelVariant, architecture: String, compiler: String) -> String {
    let names = DeviceCode.closure(of: variant.file) ?? []
    let sources = names.map { "\($0)\n\(DeviceCode.files[$0] ?? "")" }
    return (["NVRTC \(compiler)"] + variant.arguments(architecture: architecture) + sources)
      .joined(separator: "\n")
  }

  static func digest(_ bytes: some Sequence<UInt8>) -> String {
    String(fnv1a(bytes), radix: 16)
  }

  /// Makes the folder if need be; whether it is this user's alone.
  private func prepare() -> Bool {
    try? FileManager.default.createDirectory(
      at: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    var information = stat()
    guard lstat(folder.path, &information) == 0 else { return false }
    return information.st_mode & S_IFMT == S_IFDIR && information.st_uid == geteuid()
      && information.st_mode & 0o022 == 0
  }

  private func read(_ entry: URL, key: String) -> [UInt8]? {
    guard let code = try? Data(contentsOf: entry.appending(path: "code")),
      let found = try? Data(contentsOf: entry.appending(path: "key")),
      found == Data(KernelCache.sealed(key, code: code).utf8)
    else { return nil }
    return [UInt8](code)
  }

  /// Writes beside the entry and renames: another process sees a whole entry or none.
  private func write(_ code: [UInt8], key: String, to entry: URL) {
    let manager = FileManager.default
    let part = folder.appending(path: ".\(entry.lastPathComponent)-\(UUID().uuidString)")
    do {
      try manager.createDirectory(
        at: part, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
      let data = Data(code)
      try data.write(to: part.appending(path: "code"))
      try Data(KernelCache.sealed(key, code: data).utf8).write(to: part.appending(path: "key"))
      if rename(part.path, entry.path) == 0 { return }
      // There is an entry already: another process's, or one that is damaged.
      if read(entry, key: key) == nil {
        try manager.removeItem(at: entry)
        if rename(part.path, entry.path) == 0 { return }
      }
    } catch {
      // A cache that cannot be written costs time, no more.
    }
    try? manager.removeItem(at: part)
  }

  /// The key with what the code must be: a damaged entry is none.
  private static func sealed(_ key: String, code: Data) -> String {
    "code \(digest(code)) of \(code.count) bytes\n\(key)"
  }
}
