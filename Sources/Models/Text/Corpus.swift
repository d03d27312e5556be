import FoundationEssentials
import MLX

/// English sentences in two parts that share none: some to calibrate on, others to judge by.
public struct Corpus: Hashable, Sendable {
  /// Sentences to calibrate and tune on.
  public let calibration: [String]
  /// Sentences that no fit sees.
  public let heldOut: [String]

  /// What is wrong with a text to draw sentences from.
  public enum CorpusError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The dictionary is not installed.
    case noWordNet(folder: String)
    /// There are fewer sentences than asked for.
    case tooSmall(source: String, expected: Int, got: Int)
    /// A text file that cannot be read as UTF-8.
    case unreadable(path: String)

    /// The sentence.
    public var description: String {
      switch self {
      case .noWordNet(let folder):
        "[corpus] expected WordNet's data files in \(folder), found none; install Debian's package "
          + "wordnet-base, or name a text file with one sentence a line."
      case .tooSmall(let source, let expected, let got):
        "[corpus] expected at least \(expected) different sentences in \(source), got \(got); "
          + "ask for fewer or name a longer text."
      case .unreadable(let path):
        "[corpus] expected a UTF-8 text with one sentence a line at \(path), got none."
      }
    }
  }

  /// Chooses among candidates: doubles (letter case aside) count once, and the hash of its text says
  /// where a sentence goes.
  ///
  /// So the choice does not depend on the order of the candidates, and a sentence that is held
  /// out stays so when candidates are added before it or the calibration part is asked to be
  /// smaller.
  init(
    candidates: [String], calibration: Int, heldOut: Int, source: String
  ) throws(CorpusError) {
    var seen: Set<String> = []
    let ranked = candidates.filter { seen.insert($0.lowercased()).inserted }
      .map { (rank: fnv1a($0.lowercased().utf8), text: $0) }
      .sorted { ($0.rank, $0.text) < ($1.rank, $1.text) }
    guard ranked.count >= calibration + heldOut else {
      throw .tooSmall(source: source, expected: calibration + heldOut, got: ranked.count)
    }
    self.calibration = ranked.prefix(calibration).map(\.text)
    self.heldOut = ranked.suffix(heldOut).map(\.text)
  }
}

// MARK: - Sources

extension Corpus {
  /// Where Debian's package `wordnet-base` puts WordNet 3.0.
  public static let wordNetFolder = URL(filePath: "/usr/share/wordnet")

  /// Sentences from the examples and definitions of WordNet 3.0 (Princeton University, 2006).
  ///
  /// It is real English text of one sentence a piece, on every subject, in every Debian archive.
  /// Throws ``CorpusError`` with the package's name if it is not there.
  public static func wordNet(
    calibration: Int = 2000, heldOut: Int = 1000, folder: URL = wordNetFolder
  ) throws -> Corpus {
    var candidates: [String] = []
    for part in ["adj", "adv", "noun", "verb"] {
      let url = folder.appending(path: "data.\(part)")
      guard let data = try? Data(contentsOf: url) else {
        throw CorpusError.noWordNet(folder: folder.path(percentEncoded: false))
      }
      candidates += sentences(inEntries: [UInt8](data))
    }
    return try Corpus(
      candidates: candidates, calibration: calibration, heldOut: heldOut,
      source: folder.path(percentEncoded: false))
  }

  /// Sentences of a text file, one a line, blank lines left out.
  public static func text(_ url: URL, calibration: Int, heldOut: Int) throws -> Corpus {
    try Corpus(
      candidates: lines(url), calibration: calibration, heldOut: heldOut,
      source: url.path(percentEncoded: false))
  }

  /// The lines of a UTF-8 text file, blank ones left out.
  public static func lines(_ url: URL) throws -> [String] {
    guard let data = try? Data(contentsOf: url),
      let text = String(validating: data, as: UTF8.self)
    else { throw CorpusError.unreadable(path: url.path(percentEncoded: false)) }
    return text.split(whereSeparator: \.isNewline).map(trimmed).filter { !$0.isEmpty }
  }

  /// The pieces of at least four words in the glosses of a data file.
  ///
  /// A line is `offset … | definition; definition; "example"; "example"`. Bytes, not characters:
  /// the files are long, and ASCII is all that is looked for.
  static func sentences(inEntries bytes: [UInt8]) -> [String] {
    var pieces: [String] = []
    var piece: [UInt8] = []
    var spaces = 0
    var (isGloss, isQuoted) = (false, false)
    func endPiece() {
      while piece.last == UInt8(ascii: " ") {
        piece.removeLast()
        spaces -= 1
      }
      if spaces >= 3 { pieces.append(String(decoding: piece, as: UTF8.self)) }
      piece.removeAll(keepingCapacity: true)
      spaces = 0
    }
    for byte in bytes {
      switch byte {
      case UInt8(ascii: "\n"):
        if !isQuoted { endPiece() }
        piece.removeAll(keepingCapacity: true)
        (isGloss, isQuoted, spaces) = (false, false, 0)
      case _ where !isGloss: isGloss = byte == UInt8(ascii: "|")
      case UInt8(ascii: "\""): isQuoted.toggle()
      case UInt8(ascii: ";") where !isQuoted: endPiece()
      case UInt8(ascii: " "):
        guard !piece.isEmpty else { continue }
        spaces += 1
        piece.append(byte)
      default: piece.append(byte)
      }
    }
    return pieces
  }

  private static func trimmed(_ text: some StringProtocol) -> String {
    let isBlank = { (character: Character) in character.isWhitespace }
    let front = text.drop(while: isBlank)
    return String(front.reversed().drop(while: isBlank).reversed())
  }
}
