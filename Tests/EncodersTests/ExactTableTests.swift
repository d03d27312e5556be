import Encoders
import Testing

@Suite struct ExactTableTests {
  @Test(arguments: ExactTable.library)
  func tableIsADecompositionOfTheProduct(_ table: ExactTable) throws {
    try table.prove()
    #expect(table.encoder.error <= 1e-12)
    #expect(table.activation.count == table.rank * table.tile * table.tile)
  }

  @Test func proofNamesTheFirstCoefficientThatFails() throws {
    var table = ExactTable.strassen
    // Component 3 is a22·(b21 − b11) and goes to c11 and c21.
    table.decoder[3 * 4 + 0] = try #require(Rational("1/2"))
    #expect {
      try table.prove()
    } throws: { error in
      guard case .notExact(let name, let mismatch)? = error as? EncoderError else { return false }
      return name == "strassen" && mismatch.a == 3 && mismatch.b == 0 && mismatch.c == 0
        && mismatch.expected == .zero && mismatch.got == Rational("1/2")
    }
  }

  @Test(arguments: ExactTable.library, [0, 1, 2])
  func everyTableFailsWithOneCoefficientChanged(_ table: ExactTable, which: Int) throws {
    var changed = table
    let one = Rational(integer: 1)
    let index = (which + 1) * 37 % table.activation.count
    switch which {
    case 0: changed.activation[index] = try #require(table.activation[index].adding(one))
    case 1: changed.weight[index] = try #require(table.weight[index].adding(one))
    default: changed.decoder[index] = try #require(table.decoder[index].adding(one))
    }
    #expect(throws: EncoderError.self) { try changed.prove() }
  }

  @Test func overflowIsNotAProof() throws {
    var table = ExactTable.strassen
    let huge = Rational(integer: Int64.max / 2)
    table.activation[0] = huge
    table.weight[0] = huge
    #expect(throws: EncoderError.overflow(name: "strassen")) { try table.prove() }
  }

  @Test(arguments: ["1/0", "1/2/3", "x", "", "1/", "99999999999999999999", "0.5"])
  func malformedRationalIsRefused(_ text: String) {
    #expect(Rational(text) == nil)
  }

  @Test func rationalArithmeticIsInLowestTerms() throws {
    let half = try #require(Rational("2/4"))
    #expect(half.description == "1/2")
    #expect(half.adding(half) == Rational(integer: 1))
    #expect(half.multiplied(by: Rational(integer: -6)) == Rational("-3"))
    #expect(Rational(1, over: -3)?.description == "-1/3")
    #expect(Rational(integer: .max).adding(Rational(integer: 1)) == nil)
    #expect(Rational(integer: .max).multiplied(by: Rational(integer: 2)) == nil)
  }

  @Test func wrongSizeAndWrongEntrySayWhatIsWrong() {
    #expect(throws: EncoderError.shape(name: "x", expected: 4, got: 3)) {
      try ExactTable(
        name: "x", tile: 2, rank: 1, activation: "1 0 0", weight: "1 0 0 0", decoder: "1 0 0 0",
        source: "")
    }
    #expect(throws: EncoderError.malformed(name: "x", entry: "1.5")) {
      try ExactTable(
        name: "x", tile: 2, rank: 1, activation: "1.5 0 0 0", weight: "1 0 0 0",
        decoder: "1 0 0 0", source: "")
    }
  }
}
