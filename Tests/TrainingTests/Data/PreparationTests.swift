import Foundation
import MLX
import Models
import TestSupport
import Testing

@testable import Training

/// The Python packages that preparations run on.
private enum Packages {
  static func areThere(_ names: String...) -> Bool {
    names.allSatisfy { (try? PythonInterpreter.find().folder(ofPackage: $0)) != nil }
  }

  static let text = areThere("tokenizers")
  static let pictures = areThere("PIL", "fontTools", "numpy")
  static let missing: Comment = "a Python package of requirements.txt is not installed"
}

@Suite struct PreparationTests {
  // MARK: - Text

  private static let licence = "This long paragraph of a licence stands in each of the files here."

  /// Forty documents of different words, each with the licence, in four formats.
  private func writeTexts(_ folder: URL) throws {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    for index in 0..<40 {
      // Numbers in the letters a to j: what has few letters is not taken for text.
      let words = (0..<60).map { word in
        String(decoding: "\(1000 + index * 60 + word)".utf8.map { $0 + 49 }, as: UTF8.self)
      }.joined(separator: " ")
      let (name, text) =
        switch index % 4 {
        case 0: ("\(index).txt", "\(words)\n\n\(PreparationTests.licence)\n")
        case 1:
          (
            "\(index).html",
            "<html><head><title>not this</title></head><body><p>\(words) &amp; <b>bold</b></p>"
              + "<script>var no;</script><p>\(PreparationTests.licence)</p></body></html>"
          )
        case 2: ("\(index).md", "# \(words)\n\n*\(PreparationTests.licence)*\n")
        default: ("\(index).1", ".TH X 1\n.SH NAME\n\(words) \\fBbold\\fR\n.\\\" secret\n")
        }
      try Data(text.utf8).write(to: folder.appending(path: name))
    }
    try Data("a\0b".utf8).write(to: folder.appending(path: "binary.txt"))
    try Data("not text".utf8).write(to: folder.appending(path: "picture.png"))
  }

  @Test(.enabled(if: Packages.text, Packages.missing))
  func textsBecomeDocumentsOfTokens() throws {
    try withTemporaryFolder { folder in
      let sources = folder.appending(path: "texts")
      try writeTexts(sources)
      let preparation = TextPreparation(
        sources: [sources], vocabulary: .trained(size: 400), validation: 0.3)
      var stages: Set<String> = []
      let report = try preparation.write(to: folder.appending(path: "set")) {
        stages.insert($0.stage)
      }
      #expect(report.train.documents + report.validation.documents == 40)
      #expect(report.repeatedParagraphs == 29, "the licence stays once")
      #expect(report.vocabulary <= 400 && stages.contains("read"))
      let data = try Dataset.open(at: folder.appending(path: "set"))
      try data.verify()
      let tokenizer = try Tokenizer(folder: data.folder, maximumLength: 1 << 20)
      var texts: [String] = []
      for part in DatasetPart.allCases {
        let set = try data.tokens(part, length: 8)
        let size = part == .train ? report.train : report.validation
        #expect(set.tokenCount == size.tokens && set.documentCount == size.documents)
        let tokens = try set.examples(0..<set.count).inputs.asArray(Int32.self)
        texts += try tokenizer.text(of: [tokens])
      }
      let all = texts.joined()
      #expect(all.components(separatedBy: "licence").count == 2)
      #expect(all.contains("bold") && all.contains("&"))
      #expect(!all.contains("not this") && !all.contains("secret") && !all.contains("var no"))
      #expect(!all.contains("<p>") && !all.contains("\\f"))
    }
  }

  @Test(.enabled(if: Packages.text, Packages.missing), arguments: [0.001, 0.5])
  func fewDocumentsFillBothParts(validation: Double) throws {
    try withTemporaryFolder { folder in
      // By their hashes all three are in the training part for a share of 0.001.
      let sources = ["apple", "pear", "plum"].map { folder.appending(path: "\($0).txt") }
      for (index, source) in sources.enumerated() {
        let text = String(repeating: "the fruit of tree number \(index) is ripe, ", count: 20)
        try Data(text.utf8).write(to: source)
      }
      let report = try TextPreparation(
        sources: sources, vocabulary: .trained(size: 300), validation: validation
      ).write(to: folder.appending(path: "set"))
      #expect(report.train.documents + report.validation.documents == 3)
      #expect(report.train.documents > 0 && report.validation.documents > 0)
      try Dataset.open(at: folder.appending(path: "set")).verify()
    }
  }

  @Test(.enabled(if: Packages.text, Packages.missing))
  func theSplitDependsOnTheTextAlone() throws {
    try withTemporaryFolder { folder in
      let sources = folder.appending(path: "texts")
      try writeTexts(sources)
      func write(_ sources: URL, _ name: String, _ vocabulary: TextPreparation.Vocabulary) throws
        -> Dataset
      {
        let preparation = TextPreparation(
          sources: [sources], vocabulary: vocabulary, validation: 0.3)
        _ = try preparation.write(to: folder.appending(path: name))
        return try Dataset.open(at: folder.appending(path: name))
      }
      let first = try write(sources, "first", .trained(size: 300))
      // The same texts elsewhere, with the vocabulary given, make the same files.
      let moved = folder.appending(path: "moved")
      try FileManager.default.moveItem(at: sources, to: moved)
      let second = try write(moved, "second", .tokenizer(first.tokenizer))
      #expect(first.header == second.header)
    }
  }

  @Test(.enabled(if: Packages.text, Packages.missing))
  func anInterruptedPreparationLeavesNothing() throws {
    struct Stop: Error {}
    try withTemporaryFolder { folder in
      let sources = folder.appending(path: "texts")
      try writeTexts(sources)
      let preparation = TextPreparation(sources: [sources], vocabulary: .trained(size: 400))
      #expect(throws: Stop.self) {
        _ = try preparation.write(to: folder.appending(path: "set")) { _ in throw Stop() }
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["texts"])
    }
  }

  @Test(.enabled(if: Packages.text, Packages.missing))
  func sourcesWithoutTextAreRefused() throws {
    try withTemporaryFolder { folder in
      let empty = folder.appending(path: "empty")
      try FileManager.default.createDirectory(at: empty, withIntermediateDirectories: true)
      let preparation = TextPreparation(sources: [empty], vocabulary: .trained(size: 400))
      #expect(throws: PythonInterpreter.PythonError.self) {
        _ = try preparation.write(to: folder.appending(path: "set"))
      }
      let missing = TextPreparation(
        sources: [folder.appending(path: "none")], vocabulary: .trained(size: 400))
      #expect(throws: DatasetError.self) {
        _ = try missing.write(to: folder.appending(path: "set"))
      }
    }
  }

  // MARK: - Fonts

  /// Fonts whose characters are bars of widths of their own: three families of two words, one of
  /// which is a copy of another under its own name, and one without small letters.
  private static let fontMaker = """
    import sys
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen
    folder, characters = sys.argv[1], sys.argv[2]

    def bar(points):
        pen = TTGlyphPen(None)
        pen.moveTo(points[0])
        for point in points[1:]:
            pen.lineTo(point)
        pen.closePath()
        return pen.glyph()

    def make(family, characters, shape):
        names = [".notdef"] + [f"g{index}" for index in range(len(characters))]
        builder = FontBuilder(1000, isTTF=True)
        builder.setupGlyphOrder(names)
        builder.setupCharacterMap({ord(c): f"g{i}" for i, c in enumerate(characters)})
        glyphs = {".notdef": bar([(0, 0), (0, 10), (10, 10)])}
        for index in range(len(characters)):
            glyphs[f"g{index}"] = bar(shape(index))
        builder.setupGlyf(glyphs)
        builder.setupHorizontalMetrics({name: (1000, 0) for name in names})
        builder.setupHorizontalHeader(ascent=1000, descent=0)
        builder.setupNameTable({"familyName": family, "styleName": "Regular"})
        builder.setupOS2()
        builder.setupPost()
        builder.save(f"{folder}/{family.replace(' ', '')}.ttf")

    # Hinting moves edges to whole pixels, so characters differ by two of them across or down.
    x, y = lambda i: 300 + 80 * (i % 8), lambda i: 300 + 80 * (i // 8)
    wide = lambda i: [(0, 0), (0, y(i)), (x(i), y(i)), (x(i), 0)]
    make("Alpha Sans", characters, wide)
    make("Alpha Serif", characters, lambda i: [(0, 0), (0, y(i)), (x(i), 0)])
    make("Copy of Alpha", characters, lambda i: wide(i) if i else wide(63))
    make("Beta", characters, lambda i: [(0, y(i)), (x(i), y(i)), (x(i), 0)])
    make("Gamma", characters, lambda i: [(0, 900 - y(i)), (x(i) // 2, 900), (x(i), 900 - y(i))])
    make("Capitals", characters[:36], wide)
    """

  @Test(.enabled(if: Packages.pictures, Packages.missing))
  func fontsThatLookAlikeStayTogether() throws {
    try withTemporaryFolder { folder in
      let fonts = folder.appending(path: "fonts")
      try FileManager.default.createDirectory(at: fonts, withIntermediateDirectories: true)
      _ = try PythonInterpreter.find().run(
        PreparationTests.fontMaker,
        arguments: [fonts.path, ImagePreparation.characters], input: [], task: "make fonts")
      let preparation = ImagePreparation(sources: [fonts], kind: .fonts, size: 24, validation: 0.4)
      let report = try preparation.write(to: folder.appending(path: "set"))
      #expect(report.shape == [24, 24, 1] && report.classes == 62 && report.skipped == 1)
      #expect(report.facts["files"] == [6])
      // Alpha Sans, Alpha Serif and the copy are one group; so are Beta and Gamma each.
      #expect(report.facts["groups"]?.reduce(0, +) == 3)
      #expect((report.train + report.validation).isMultiple(of: 62) && report.validation > 0)
      let data = try Dataset.open(at: folder.appending(path: "set"))
      try data.verify()
      let rows = try String(
        contentsOf: data.folder.appending(path: "fonts.tsv"), encoding: .utf8
      ).split(separator: "\n").map { $0.split(separator: "\t") }
      let sides = Dictionary(grouping: rows) { $0[1] }.mapValues { Set($0.map { $0[0] }) }
      #expect(sides.values.allSatisfy { $0.count == 1 })
      let batch = try data.images(.validation).examples(0..<62)
      #expect(try batch.targets.asArray(Int32.self) == (0..<62).map { Int32($0) })
    }
  }

  // MARK: - Pictures

  @Test(.enabled(if: Packages.pictures, Packages.missing))
  func foldersOfPicturesAreDecodedAndCut() throws {
    try withTemporaryFolder { folder in
      let root = folder.appending(path: "pictures")
      // A binary PPM is a header and bytes: 12 × 8, its middle square of one colour.
      for (label, colour) in [("cat", [UInt8(200), 30, 10]), ("dog", [10, 30, 200])] {
        for part in ["train", "val"] {
          let below = root.appending(path: "\(part)/\(label)")
          try FileManager.default.createDirectory(at: below, withIntermediateDirectories: true)
          for index in 0..<3 {
            let border = [UInt8](repeating: 0, count: 6)
            let row = border + (0..<8).flatMap { _ in colour } + border
            let pixels = (0..<8).flatMap { _ in row }
            try Data(Array("P6 12 8 255\n".utf8) + pixels)
              .write(to: below.appending(path: "\(index).ppm"))
          }
          try Data("no picture".utf8).write(to: below.appending(path: "broken.jpg"))
        }
      }
      let preparation = ImagePreparation(sources: [root], kind: .folders, size: 8)
      let report = try preparation.write(to: folder.appending(path: "set"))
      #expect(report.train == 6 && report.validation == 6 && report.skipped == 4)
      let data = try Dataset.open(at: folder.appending(path: "set"))
      let set = try data.images(.train)
      #expect(set.classes == ["cat", "dog"] && set.height == 8 && set.channels == 3)
      let bytes = try Data(contentsOf: data.folder.appending(path: "train.images"))
      #expect(Array(bytes.prefix(3)) == [200, 30, 10])
      let isOneColour = stride(from: 0, to: 192, by: 3).allSatisfy { bytes[$0] == 200 }
      #expect(isOneColour, "the border is cut off")
      #expect(Array(bytes.suffix(3)) == [10, 30, 200])
      // Half of one, half of the other: mean 105 and deviation 95 of red.
      #expect(abs((data.header.facts["mean"]?[0] ?? 0) - 105.0 / 255) < 1e-12)
      #expect(abs((data.header.facts["deviation"]?[0] ?? 0) - 95.0 / 255) < 1e-12)
    }
  }

  // MARK: - CIFAR

  /// A record whose red, green and blue planes begin with r, g, b.
  private func record(_ labels: [UInt8], _ values: [UInt8]) -> Data {
    Data(labels + values.flatMap { [$0] + [UInt8](repeating: $0 / 2, count: 1023) })
  }

  @Test(arguments: [10, 100]) func planesBecomePixels(classes: Int) throws {
    try withTemporaryFolder { folder in
      let source = folder.appending(path: "cifar")
      try FileManager.default.createDirectory(at: source, withIntermediateDirectories: true)
      let labels: ([UInt8]) -> [UInt8] = { classes == 10 ? $0 : [7] + $0 }
      let train = record(labels([3]), [10, 20, 30]) + record(labels([9]), [40, 50, 60])
      let test = record(labels([1]), [70, 80, 90])
      try train.write(to: source.appending(path: classes == 10 ? "data_batch_1.bin" : "train.bin"))
      try test.write(to: source.appending(path: classes == 10 ? "test_batch.bin" : "test.bin"))
      let report = try ImagePreparation(sources: [source], kind: .cifar)
        .write(to: folder.appending(path: "set"))
      #expect(report.train == 2 && report.validation == 1 && report.classes == classes)
      let data = try Dataset.open(at: folder.appending(path: "set"))
      try data.verify()
      #expect(try data.images(.train).examples(0..<2).targets.asArray(Int32.self) == [3, 9])
      #expect(try data.images(.validation).examples(0..<1).targets.asArray(Int32.self) == [1])
      let bytes = try Data(contentsOf: data.folder.appending(path: "train.images"))
      #expect(Array(bytes[0..<6]) == [10, 20, 30, 5, 10, 15])
      #expect(Array(bytes[3072..<3078]) == [40, 50, 60, 20, 25, 30])
    }
  }

  @Test func cutOffRecordsAndUnknownClassesAreRefused() throws {
    try withTemporaryFolder { folder in
      func refuses(_ train: Data) throws {
        try train.write(to: folder.appending(path: "data_batch_1.bin"))
        try record([1], [0, 0, 0]).write(to: folder.appending(path: "test_batch.bin"))
        #expect(throws: DatasetError.self) {
          _ = try ImagePreparation(sources: [folder], kind: .cifar)
            .write(to: folder.appending(path: "set"))
        }
      }
      try refuses(record([1], [1, 2, 3]).dropLast())
      try refuses(record([10], [1, 2, 3]))
      try refuses(Data())
    }
  }
}
