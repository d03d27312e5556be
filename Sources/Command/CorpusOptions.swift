import ArgumentParser
import Foundation
import Tessera

/// The options that say which texts a conversion sees.
struct CorpusOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "UTF-8 texts, one a line. Default: WordNet's examples and definitions, from Debian's package "
        + "wordnet-base.", valueName: "file"))
  var calibrate: String?

  @Option(help: "Texts to calibrate and distil on.")
  var texts = 20_000

  @Option(help: "Other texts, to judge by.")
  var heldOut = 1000

  func validate() throws {
    guard texts > 0, texts <= 1 << 24 else {
      throw ValidationError("expected --texts of 1 to \(1 << 24), got \(texts).")
    }
    // Neighbours and correlations of similarities need three.
    guard heldOut >= 3, heldOut <= 1 << 15 else {
      throw ValidationError("expected --held-out of 3 to \(1 << 15), got \(heldOut).")
    }
  }

  func corpus() throws -> Corpus {
    guard let calibrate else { return try .wordNet(calibration: texts, heldOut: heldOut) }
    let url = URL(filePath: calibrate)
    let lines = Set(try Corpus.lines(url).map { $0.lowercased() }).count
    return try .text(
      url, calibration: min(texts, max(1, lines - heldOut)), heldOut: heldOut)
  }
}
