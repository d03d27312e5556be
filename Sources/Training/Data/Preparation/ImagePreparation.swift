import Foundation
import MLX
import Models

/// Images → a prepared set: decoded, resized and labelled once.
public struct ImagePreparation: Hashable, Sendable {
  /// What the images are made from.
  public enum Source: String, Hashable, Sendable, CaseIterable {
    /// Fonts: an image [S, S, 1] of each of 62 digits and letters in each face, white on black.
    ///
    /// Faces whose family names begin with the same word, and faces that look alike whatever their
    /// names, go to the same side of the split: validation is on designs that training never saw.
    case fonts
    /// A folder of CIFAR-10 or CIFAR-100 in the binary version, [32, 32, 3]; its test file is the
    /// validation part.
    case cifar
    /// A folder with a folder of pictures a class, or `train` and `val` with such folders: the middle
    /// square of each picture [S, S, 3].
    case folders
  }

  /// Files and folders; one folder for CIFAR and folders of classes.
  public var sources: [URL]
  /// What they are.
  public var kind: Source
  /// The sides of the images in pixels; CIFAR's are 32.
  public var size: Int
  /// The share for validation, where the source has no such part.
  public var validation: Double

  /// Images of sources.
  public init(sources: [URL], kind: Source, size: Int = 32, validation: Double = 0.1) {
    (self.sources, self.kind, self.size, self.validation) = (sources, kind, size, validation)
  }

  /// The digits and letters that are drawn in each face.
  public static let characters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

  /// What was prepared.
  public struct Report: Codable, Hashable, Sendable {
    /// Sides and channels of an image.
    public let shape: [Int]
    /// The number of classes.
    public let classes: Int
    /// Images that training sees.
    public let train: Int
    /// Images that it does not see.
    public let validation: Int
    /// Fonts or pictures that could not be used.
    public let skipped: Int
    /// Of fonts: `files`, `families`, and `faces` and `groups` of training and validation.
    public let facts: [String: [Double]]
  }

  /// Decodes, splits and writes the set; `progress` may throw to stop, and nothing is left.
  ///
  /// Throws ``DatasetError``, ``/Models/PythonInterpreter/PythonError`` or a ``/MLX/FileError``.
  public func write(
    to folder: URL, python: PythonInterpreter? = nil,
    progress: (DataProgress) throws -> Void = { _ in }
  ) throws -> Report {
    for source in sources where !FileManager.default.fileExists(atPath: source.path) {
      throw DatasetError.badSource(
        path: source.path(percentEncoded: false), reason: "there is no such file or folder")
    }
    guard kind == .fonts || sources.count == 1 else {
      throw DatasetError.badSource(
        path: sources.first?.path(percentEncoded: false) ?? "nothing",
        reason: "expected one folder of \(kind.rawValue), got \(sources.count)")
    }
    var report: Report?
    _ = try Dataset.write(to: folder) { folder in
      let content =
        switch kind {
        case .cifar: try CIFARFiles(folder: sources[0]).write(to: folder, progress: progress)
        case .fonts:
          try content(
            ImagePreparation.fontScript, ["PIL", "fontTools", "numpy"], in: folder, python, progress
          )
        case .folders:
          try content(
            ImagePreparation.folderScript, ["PIL", "numpy"], in: folder, python, progress)
        }
      let shape = [content.side, content.side, content.channels]
      let statistics = try ChannelStatistics(
        of: folder.appending(path: DatasetHeader.file(.train, "images")),
        count: content.counts[.train] ?? 0, shape: shape)
      var facts = content.facts
      facts["mean"] = statistics.means
      facts["deviation"] = statistics.deviations
      report = Report(
        shape: shape, classes: content.classes.count, train: content.counts[.train] ?? 0,
        validation: content.counts[.validation] ?? 0, skipped: content.skipped,
        facts: content.facts)
      return (
        .images(
          height: content.side, width: content.side, channels: content.channels,
          classes: content.classes),
        content.counts.mapValues { count in
          ["images": (.uint8, [count] + shape), "labels": (.int32, [count])]
        }, facts
      )
    }
    guard let report else {
      throw PythonInterpreter.PythonError.failed(task: "prepare images", message: "no answer.")
    }
    return report
  }

  /// What files of images and labels hold.
  struct Content {
    var side: Int
    var channels: Int
    var classes: [String]
    var counts: [DatasetPart: Int]
    var skipped = 0
    var facts: [String: [Double]] = [:]
  }

  private func content(
    _ script: String, _ packages: [String], in folder: URL, _ python: PythonInterpreter?,
    _ progress: (DataProgress) throws -> Void
  ) throws -> Content {
    let job = PythonJob(
      script: "os.chdir(settings[\"folder\"])\n" + script, packages: packages,
      task: "prepare images")
    let settings = JSON.object([
      "folder": .string(folder.absoluteURL.path(percentEncoded: false)),
      "sources": .array(sources.map { .string($0.absoluteURL.path(percentEncoded: false)) }),
      "size": .integer(size), "validation": .double(validation),
      "characters": .string(ImagePreparation.characters), "alike": 0.12,
    ])
    let result = try job.run(
      settings: settings, in: folder, python: try python ?? PythonInterpreter.find(),
      progress: progress)
    guard let channels = result["channels"]?.integer, let skipped = result["skipped"]?.integer,
      let classes = result["classes"]?.array?.compactMap(\.string),
      let train = result["counts"]?["train"]?.integer,
      let validation = result["counts"]?["validation"]?.integer
    else {
      throw PythonInterpreter.PythonError.failed(
        task: "prepare images", message: "the answer is not whole.")
    }
    let facts = (result["facts"]?.object?.members ?? []).reduce(into: [String: [Double]]()) {
      $0[$1.key] = $1.value.array?.compactMap(\.double)
    }
    return Content(
      side: size, channels: channels, classes: classes,
      counts: [.train: train, .validation: validation], skipped: skipped, facts: facts)
  }
}

/// Mean and deviation of each channel, as shares of 255.
struct ChannelStatistics: Hashable, Sendable {
  let means: [Double]
  let deviations: [Double]

  init(of file: URL, count: Int, shape: [Int]) throws {
    let channels = shape[2]
    let mapped = try MappedFile(url: file, expecting: shape.reduce(count, *))
    // Sums of squares of bytes of 10¹⁴ images fit into 64 bits.
    var sums = [UInt64](repeating: 0, count: channels)
    var squares = sums
    mapped.withBytes { bytes in
      var channel = 0
      for byte in bytes {
        sums[channel] += UInt64(byte)
        squares[channel] += UInt64(byte) * UInt64(byte)
        channel = channel + 1 == channels ? 0 : channel + 1
      }
    }
    let pixels = Double(max(1, mapped.count / channels))
    let means = sums.map { Double($0) / pixels / 255 }
    self.means = means
    // A channel of one value is left at its scale: nothing can be divided by no deviation.
    deviations = zip(squares, means).map { square, mean in
      let variance = Double(square) / pixels / (255 * 255) - mean * mean
      return variance > 1e-8 ? variance.squareRoot() : 1
    }
  }
}
