import Foundation
import MLX

/// The files of CIFAR-10 or CIFAR-100 in the binary version (Krizhevsky, 2009).
///
/// A record is the label, of CIFAR-100 a coarse and a fine one, and the red, the green and the blue
/// plane of 32 × 32 bytes.
struct CIFARFiles {
  private static let side = 32

  private let folder: URL
  private let labelBytes: Int
  private let files: [DatasetPart: [String]]
  private let classes: [String]

  init(folder: URL) throws {
    func has(_ name: String) -> Bool {
      FileManager.default.fileExists(atPath: folder.appending(path: name).path)
    }
    self.folder = folder
    let batches = (1...5).map { "data_batch_\($0).bin" }
    let names: String
    if has("test_batch.bin"), let first = batches.first, has(first) {
      (labelBytes, names) = (1, "batches.meta.txt")
      files = [.train: batches.filter(has), .validation: ["test_batch.bin"]]
    } else if has("train.bin"), has("test.bin") {
      (labelBytes, names) = (2, "fine_label_names.txt")
      files = [.train: ["train.bin"], .validation: ["test.bin"]]
    } else {
      throw DatasetError.badSource(
        path: folder.path(percentEncoded: false),
        reason: "expected data_batch_1.bin and test_batch.bin (CIFAR-10) or train.bin and test.bin "
          + "(CIFAR-100), found neither")
    }
    let count = labelBytes == 1 ? 10 : 100
    let text = (try? String(contentsOf: folder.appending(path: names), encoding: .utf8)) ?? ""
    let found = text.split(whereSeparator: \.isNewline).map(String.init)
    classes = found.count == count ? found : (0..<count).map { "class \($0)" }
  }

  /// Writes images [n, 32, 32, 3] and labels.
  func write(
    to target: URL, progress: (DataProgress) throws -> Void
  ) throws -> ImagePreparation.Content {
    var counts: [DatasetPart: Int] = [:]
    for part in DatasetPart.allCases {
      let names = files[part] ?? []
      var labels: [Int32] = []
      try AtomicFile.write(to: target.appending(path: DatasetHeader.file(part, "images"))) { file in
        for (done, name) in names.enumerated() {
          try progress(
            DataProgress(
              stage: part.rawValue, completed: done, total: names.count, detail: name))
          let (pixels, found) = try records(name)
          try file.append(pixels)
          labels += found
        }
      }
      try AtomicFile.write(to: target.appending(path: DatasetHeader.file(part, "labels"))) { file in
        try file.append(labels.map(\.littleEndian).withUnsafeBytes { [UInt8]($0) })
      }
      counts[part] = labels.count
      try progress(
        DataProgress(
          stage: part.rawValue, completed: names.count, total: names.count, detail: nil))
    }
    return ImagePreparation.Content(
      side: CIFARFiles.side, channels: 3, classes: classes, counts: counts)
  }

  private func records(_ name: String) throws -> (pixels: [UInt8], labels: [Int32]) {
    let url = folder.appending(path: name)
    let bytes = [UInt8](try Data(contentsOf: url))
    let plane = CIFARFiles.side * CIFARFiles.side
    let length = labelBytes + 3 * plane
    guard !bytes.isEmpty, bytes.count.isMultiple(of: length) else {
      throw DatasetError.badSource(
        path: url.path(percentEncoded: false),
        reason: "expected whole records of \(length) bytes, got \(bytes.count) bytes")
    }
    var labels: [Int32] = []
    var pixels = [UInt8](repeating: 0, count: bytes.count / length * 3 * plane)
    for (record, start) in stride(from: 0, to: bytes.count, by: length).enumerated() {
      let label = Int32(bytes[start + labelBytes - 1])
      guard label < classes.count else {
        throw DatasetError.badSource(
          path: url.path(percentEncoded: false),
          reason: "expected labels from 0 to \(classes.count - 1), got \(label) in record \(record)"
        )
      }
      labels.append(label)
      for channel in 0..<3 {
        for pixel in 0..<plane {
          pixels[(record * plane + pixel) * 3 + channel] =
            bytes[start + labelBytes + channel * plane + pixel]
        }
      }
    }
    return (pixels, labels)
  }
}
