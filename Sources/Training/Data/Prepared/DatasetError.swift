/// What is wrong with a prepared set, or with what one is to be made of.
public enum DatasetError: Error, Hashable, Sendable, CustomStringConvertible {
  /// There is no set in the folder.
  case noDataset(folder: String)
  /// The header does not say what it has to.
  case badHeader(file: String, reason: String)
  /// A file is not as long as the header says.
  case wrongSize(file: String, expected: Int, got: Int)
  /// A file's bytes are not those that were written.
  case wrongChecksum(file: String, expected: UInt64, got: UInt64)
  /// The set holds something else.
  case wrongKind(folder: String, expected: String, got: String)
  /// A part has too few examples for anything.
  case tooSmall(part: String, reason: String)
  /// The numbers of a batch do not go together.
  case badBatch(reason: String)
  /// A source file or folder that cannot be used.
  case badSource(path: String, reason: String)

  /// The sentence.
  public var description: String {
    switch self {
    case .noDataset(let folder):
      "[data] expected a prepared set (dataset.json) in \(folder), found none; make one with "
        + "`tessera data text` or `tessera data images`."
    case .badHeader(let file, let reason): "[data] cannot read \(file): \(reason)."
    case .wrongSize(let file, let expected, let got):
      "[data] expected \(expected) bytes in \(file), got \(got); prepare the set again."
    case .wrongChecksum(let file, let expected, let got):
      "[data] expected the checksum \(String(expected, radix: 16)) of \(file), got "
        + "\(String(got, radix: 16)); prepare the set again."
    case .wrongKind(let folder, let expected, let got):
      "[data] expected \(expected) in \(folder), got \(got)."
    case .tooSmall(let part, let reason): "[data] too little data for \(part): \(reason)."
    case .badBatch(let reason): "[data] \(reason)."
    case .badSource(let path, let reason): "[data] cannot use \(path): \(reason)."
    }
  }
}
