import Testing

@testable import Models

@Suite struct LayerPatternTests {
  @Test(arguments: [
    ("*", "", true), ("*", "anything.at.all", true), ("", "", true), ("", "a", false),
    ("*.query", "encoder.layer.0.attention.self.query", true), ("*.query", "query", false),
    ("encoder.layer.?.output.dense", "encoder.layer.3.output.dense", true),
    ("encoder.layer.?.output.dense", "encoder.layer.11.output.dense", false),
    ("encoder.*", "encoder", false), ("encoder.*", "the.encoder.x", false),
    ("encoder.layer.*.intermediate.dense", "encoder.layer.0.intermediate.dense", true),
    ("**??", "ab", true), ("**??", "a", false), ("?", "é", true), ("a.b", "axb", false),
    ("[ab]", "a", false), ("[ab]", "[ab]", true),
  ])
  func patternsMatchWholePaths(_ pattern: String, _ path: String, _ expected: Bool) {
    #expect(LayerPattern(pattern).matches(path) == expected)
  }

  /// The recurrence that defines matching: m[i][j] says whether the first i characters of the
  /// pattern match the first j of the text.
  private func oracle(_ pattern: [Character], _ text: [Character]) -> Bool {
    var row = [true] + [Bool](repeating: false, count: text.count)
    for character in pattern {
      var next = [Bool](repeating: false, count: text.count + 1)
      next[0] = character == "*" && row[0]
      for j in text.indices {
        switch character {
        case "*": next[j + 1] = row[j + 1] || next[j]
        case "?": next[j + 1] = row[j]
        default: next[j + 1] = row[j] && character == text[j]
        }
      }
      row = next
    }
    return row[text.count]
  }

  private func words(_ alphabet: [Character], upTo length: Int) -> [[Character]] {
    var all: [[Character]] = [[]]
    var last: [[Character]] = [[]]
    for _ in 0..<length {
      last = last.flatMap { word in alphabet.map { word + [$0] } }
      all += last
    }
    return all
  }

  @Test func allShortPatternsAgreeWithTheRecurrence() {
    let texts = words(["a", "b"], upTo: 4)
    for pattern in words(["a", "b", "*", "?"], upTo: 4) {
      let compiled = LayerPattern(String(pattern))
      for text in texts where compiled.matches(String(text)) != oracle(pattern, text) {
        Issue.record("'\(String(pattern))' against '\(String(text))'")
      }
    }
  }

  /// Backtracking into every star would take 2 to the 40th steps.
  @Test func manyStarsStayCheap() {
    let text = String(repeating: "a", count: 400)
    #expect(!LayerPattern(String(repeating: "*a", count: 40) + "b").matches(text))
    #expect(LayerPattern(String(repeating: "*a", count: 40)).matches(text))
    #expect(LayerPattern(String(repeating: "*", count: 10_000)).matches(text))
  }
}
