import FoundationEssentials
import MLX

extension CheckpointFolder {
  /// Throws if a checkpoint made from this one cannot go to a place: something is there and is not
  /// to be replaced, one folder would lie inside the other, or nothing can be written there.
  ///
  /// Ask before the work, not only after it.
  public func checkTarget(_ target: URL, replacingExisting: Bool) throws {
    let targetPath = CheckpointFolder.resolved(target)
    let sourcePath = CheckpointFolder.resolved(url)
    guard targetPath != sourcePath, !targetPath.hasPrefix(sourcePath + "/"),
      !sourcePath.hasPrefix(targetPath + "/")
    else { throw CheckpointError.targetOverlapsSource(target: targetPath, source: sourcePath) }
    try CheckpointFolder.checkTarget(targetPath, replacingExisting: replacingExisting)
  }

  /// Throws if a folder cannot be made at a resolved path.
  private static func checkTarget(_ path: String, replacingExisting: Bool) throws {
    guard replacingExisting || !FileManager.default.fileExists(atPath: path) else {
      throw CheckpointError.targetExists(path: path)
    }
    try FileSystem.checkMakeable(URL(filePath: path))
  }

  /// Writes a checkpoint with other tensors and the other files of this one.
  ///
  /// All of it goes to a temporary folder beside the target, is synchronised with the disk and
  /// takes the target's name in one step: the target is whole or absent, whatever happens. Weights
  /// of this folder in other formats are left out, since they would no longer be the same model.
  ///
  /// - Parameters:
  ///   - target: The folder to make. Folders above it are made as needed.
  ///   - replacingExisting: Whether to replace what is there; without it, that is an error.
  ///   - tensors: All tensors of the new checkpoint, written to one `model.safetensors`.
  ///   - structures: The spec string of every structured layer by the layer's name, for the key
  ///     `tessera` of `config.json`.
  ///   - finishing: Adds further files to the temporary folder.
  public func write(
    to target: URL, replacingExisting: Bool = false, tensors: [String: MLXArray],
    structures: [String: String], finishing: (URL) throws -> Void = { _ in }
  ) throws {
    try checkTarget(target, replacingExisting: replacingExisting)
    try CheckpointFolder.write(
      to: target, replacingExisting: replacingExisting, configuration: configuration.object,
      tensors: tensors, structures: structures
    ) { folder in
      try copyOtherFiles(to: folder)
      try finishing(folder)
    }
  }

  /// Writes a checkpoint that comes from no other; the target is whole or absent.
  ///
  /// `finishing` adds further files to the temporary folder.
  static func write(
    to target: URL, replacingExisting: Bool, configuration: JSON.Object,
    tensors: [String: MLXArray], structures: [String: String], finishing: (URL) throws -> Void
  ) throws {
    let path = resolved(target)
    try checkTarget(path, replacingExisting: replacingExisting)
    let destination = URL(filePath: path)
    let parent = destination.deletingLastPathComponent()
    let folder = parent.appending(
      path: ".\(destination.lastPathComponent).\(UInt64.random(in: .min ... .max)).tmp")
    let temporary = TemporaryPath(folder.path(percentEncoded: false))
    defer { temporary.remove() }
    try FileSystem.makeFolder(folder)
    try AtomicFile.write(
      StructuredLayers.configuration(configuration, naming: structures).encoded(indent: 2) + "\n",
      to: folder.appending(path: configurationName))
    try save(
      arrays: tensors, metadata: ["format": "pt"], url: folder.appending(path: weightsName))
    try finishing(folder)
    try FileSystem.synchronize(folder)
    // Once more: another process may have been faster.
    try checkTarget(path, replacingExisting: replacingExisting)
    try temporary.move(to: destination.path(percentEncoded: false))
    try FileSystem.synchronize(parent)
  }

  /// The absolute path without symbolic links and without a slash at the end; of a path that does
  /// not exist, the part that does is resolved.
  private static func resolved(_ url: URL) -> String {
    var existing = url.absoluteURL.standardizedFileURL
    var rest: [String] = []
    while !FileManager.default.fileExists(atPath: existing.path(percentEncoded: false)),
      existing.pathComponents.count > 1
    {
      rest.append(existing.lastPathComponent)
      existing.deleteLastPathComponent()
    }
    existing.resolveSymlinksInPath()
    let path = rest.reversed().reduce(existing) { $0.appending(path: $1) }.path(
      percentEncoded: false)
    return path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
  }

  /// Endings of files that hold weights, in formats that other tools read.
  private static let weightEndings: Set<String> = [
    "safetensors", "bin", "pt", "pth", "ckpt", "h5", "msgpack", "onnx", "ot", "gguf", "tflite",
    "mlmodel", "npz",
  ]

  private func copyOtherFiles(to folder: URL) throws {
    try copyFiles(of: url, to: folder, depth: 0)
  }

  private func copyFiles(of source: URL, to folder: URL, depth: Int) throws {
    let files = FileManager.default
    for name in try files.contentsOfDirectory(atPath: source.path(percentEncoded: false)).sorted() {
      let item = source.appending(path: name)
      let copy = folder.appending(path: name)
      let isOwn =
        depth == 0
        && [CheckpointFolder.configurationName, CheckpointFolder.indexName].contains(name)
      let ending = name.split(separator: ".").last.map { $0.lowercased() } ?? ""
      // Hidden files are the tools', such as a clone's history.
      guard !isOwn, !name.hasPrefix("."), !CheckpointFolder.weightEndings.contains(ending) else {
        continue
      }
      // A cache of downloads is made of links to files; links to folders could go in circles.
      let real = item.resolvingSymlinksInPath()
      var isFolder = false
      guard
        files.fileExists(atPath: real.path(percentEncoded: false), isDirectory: &isFolder)
      else { continue }
      guard isFolder else {
        try FileSystem.copy(real, to: copy)
        continue
      }
      let isLink =
        try files.attributesOfItem(atPath: item.path(percentEncoded: false))[.type]
        as? FileAttributeType == .typeSymbolicLink
      guard !isLink, depth < 4 else { continue }
      try FileSystem.makeFolder(copy)
      try copyFiles(of: item, to: copy, depth: depth + 1)
      if try files.contentsOfDirectory(atPath: copy.path(percentEncoded: false)).isEmpty {
        try files.removeItem(at: copy)
      }
    }
  }
}
