import Foundation

/// The checkpoint of `Tests/ModelsTests/Golden` for the tests of other modules: BERT with random
/// weights, 39 wide with 51 in between, two layers, at most 24 tokens, a token a character.
public enum SmallModel {
  /// The folder, which tests leave as it is.
  public static let folder = golden.appending(path: "bert-odd")

  /// The folders of small models of all families: `gpt2-odd` and so on.
  public static let golden = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "ModelsTests/Golden")

  /// Sequences of valid tokens, 4 to 20 long, the same every time.
  public static func sequences(_ count: Int) -> [[Int32]] {
    var state: UInt64 = 1
    // Knuth's linear congruence of the MMIX machine; the high bits are the random ones.
    func next(below bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    return (0..<count).map { _ in
      [2] + (0..<(2 + next(below: 17))).map { _ in Int32(5 + next(below: 104)) } + [3]
    }
  }

  /// Different English sentences, 120 of them.
  public static let sentences: [String] = {
    let subjects = ["a dog", "the cat", "my aunt", "no king", "one bird"]
    let verbs = ["eats", "sees", "hides", "sold", "wants", "drew"]
    let objects = ["red fruit", "a boat", "the moon", "two pens"]
    return subjects.flatMap { subject in
      verbs.flatMap { verb in objects.map { "\(subject) \(verb) \($0)" } }
    }
  }()
}
