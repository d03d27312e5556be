import MLX
import Operators
import OrderedCollections
import Testing

@Suite struct SpecTests {
  /// Every case with every combination of its options.
  static let specs: [OperatorSpec] = {
    let factors: [Factors?] = [nil, Factors(3, 5), Factors(1, 2_147_483_647)]
    var specs: [OperatorSpec] = [.dense, .twoFour, .lowRank(rank: 7), .monarch(blocks: 4)]
    for input in factors {
      for output in factors {
        specs.append(.kronecker(input: input, output: output))
        specs.append(.tensorTrain(rank: 2, input: input, output: output))
        for normalized in [false, true] {
          specs.append(
            .blockTensorTrain(rank: 3, input: input, output: output, normalized: normalized))
        }
      }
    }
    for rows in RowPolicy.allCases {
      for tile in [2, 4, 8] {
        for encoder in [nil, "strassen", "kronecker-2x2_7.v2", "a=b"] {
          specs.append(.strassenTile(rank: 24, tile: tile, encoder: encoder, rows: rows))
        }
      }
    }
    let patterns = [KroneckerPattern(1, 2, 3, 4), KroneckerPattern(5, 6, 7, 8)]
    specs.append(.kroneckerSparse([patterns[0]]))
    specs.append(.kroneckerSparse(patterns))
    return specs
  }()

  @Test(arguments: specs)
  func parsingWhatIsPrintedGivesTheSameSpec(_ spec: OperatorSpec) throws {
    #expect(try OperatorSpec(parsing: spec.description) == spec)
  }

  @Test func specsReadAsDocumented() throws {
    #expect(try OperatorSpec(parsing: "btt:norm=true,rank=2").description == "btt:rank=2,norm=true")
    #expect(try OperatorSpec(parsing: "stl:rank=24,tile=4").description == "stl:rank=24")
    #expect(
      try OperatorSpec(parsing: "stl:rank=24,rows=batch") == .strassenTile(rank: 24, rows: .batch))
    #expect(
      try OperatorSpec(parsing: "btt:rank=2,in=16x24")
        == .blockTensorTrain(rank: 2, input: Factors(16, 24)))
    #expect(
      try OperatorSpec(parsing: "ks:1x2x3x4") == .kroneckerSparse([KroneckerPattern(1, 2, 3, 4)]))
  }

  @Test(arguments: [
    ("", "dense, lowrank"), ("bt:rank=2", "did you mean 'tt' or 'btt'"),
    ("low-rank:rank=2", "'lowrank'"), ("MONARCH", "'monarch'"), ("2:5", "'2:4'"),
    ("2:4:rank=3", "'2:4'"), ("btt", "'rank'"), ("monarch:rank=2", "'blocks'"),
    ("lowrank:rank=3,ranks=4", "unknown option 'ranks'"), ("dense:rank=3", "dense has none"),
    ("lowrank:rank=0", "positive integer"), ("lowrank:rank=-1", "'-1'"),
    ("lowrank:rank=+1", "'+1'"), ("lowrank:rank=1.5", "'1.5'"), ("lowrank:rank=٣", "positive"),
    ("lowrank:rank=99999999999", "at most 2147483647"),
    ("lowrank:rank=99999999999999999999999999", "at most 2147483647"),
    ("lowrank:rank=2,rank=3", "twice"), ("lowrank:rank", "key=value"), ("lowrank:", "key=value"),
    ("lowrank:rank=2,", "key=value"), ("btt:rank=2,norm=yes", "true or false"),
    ("btt:rank=2,in=16", "16x24"), ("btt:rank=2,in=16x24x2", "16x24"),
    ("btt:rank=2,out=0x3", "'out'"), ("stl:rank=24,rows=random", "sequence, batch, flat"),
    ("ks", "pattern"), ("ks:", "pattern"), ("ks:1x2x3", "'1x2x3'"), ("ks:1x2x3x4+", "''"),
    ("ks:1x2x3xfour", "four positive integers"), ("ks:1x2x3x-4", "'1x2x3x-4'"),
  ])
  func aWrongSpecSaysWhatWouldBeRight(_ text: String, _ part: String) throws {
    let error = #expect(throws: SpecError.self) { try OperatorSpec(parsing: text) }
    let sentence = try #require(error).description
    #expect(sentence.hasPrefix("[spec] ") && sentence.contains(part), "\(sentence)")
    #expect(sentence.hasSuffix(".") || sentence.hasSuffix("?"))
  }

  @Test(arguments: [
    ("lowrank:rank=9", 8, 12, "1 to 8"), ("tt:rank=99", 12, 12, "got 99"),
    ("btt:rank=5", 16, 16, "1 to 4"), ("btt:rank=2147483647", 384, 1536, "1 to 16"),
    ("btt:rank=1,in=3x4,out=5x3", 16, 15, "in=3x4"), ("btt:rank=1,in=6x6", 16, 15, "in=6x6"),
    ("btt:rank=1,in=1000000x1000000", 16, 16, "in=1000000x1000000"),
    ("btt:rank=1,in=2147483647x2147483647,out=2147483647x2147483647", 16, 16, "expected in="),
    ("btt:rank=1,in=16x4,out=4x38", 64, 152, "16 = 1·4·4"),
    ("monarch:blocks=17", 16, 20, "1 to 16"), ("monarch:blocks=9", 16, 16, "padding"),
    ("ks:1x2x3x4", 13, 8, "13"), ("ks:1x2x3x4", 12, 9, "9"), ("ks:1x2x3x4", 6, 8, "12"),
    ("ks:1x2x3x4+1x2x3x4", 12, 8, "got 12"),
    ("ks:2147483647x2147483647x2147483647x2147483647", 12, 8, "at most"),
    ("dense", 0, 8, "got 0"), ("dense", 8, -1, "got -1"), ("dense", 1 << 40, 8, "inputs"),
  ])
  func aSpecThatDoesNotFitSaysWhatWouldFit(
    _ text: String, _ inputs: Int, _ outputs: Int, _ part: String
  ) throws {
    let spec = try OperatorSpec(parsing: text)
    let error = #expect(throws: SpecError.self) {
      try spec.makeOperator(inputs: inputs, outputs: outputs)
    }
    let sentence = try #require(error).description
    #expect(sentence.hasPrefix("[spec] ") && sentence.contains(part), "\(sentence)")
  }

  @Test(arguments: [
    "dense", "lowrank:rank=268435456", "2:4", "monarch:blocks=268435456", "monarch:blocks=1",
    "btt:rank=1,in=1x268435456,out=268435456x1", "btt:rank=16384", "tt:rank=268435456",
    "kronecker", "kronecker:in=1x268435456,out=268435456x1", "stl:rank=49",
  ])
  func theLargestOperatorsAreCountedWithoutOverflow(_ text: String) throws {
    let operation = try OperatorSpec(parsing: text)
      .makeOperator(inputs: 1 << 28, outputs: 1 << 28)
    #expect(operation.cost.multiplyAdds > 0 && !operation.shapes.isEmpty)
    #expect(!operation.learningRateMultipliers.isEmpty)
  }

  @Test func specsBuiltInCodeAreCheckedToo() {
    let wrong: [OperatorSpec] = [
      .lowRank(rank: 0), .lowRank(rank: -1), .monarch(blocks: 0), .kroneckerSparse([]),
      .blockTensorTrain(rank: 1, input: Factors(-4, -4)), .blockTensorTrain(rank: .max),
      .tensorTrain(rank: 0), .kroneckerSparse([KroneckerPattern(.max, .max, 2, 2)]),
    ]
    for spec in wrong {
      #expect(throws: SpecError.self, "\(spec)") { try spec.makeOperator(inputs: 16, outputs: 16) }
    }
  }

  @Test(arguments: Specimen.zoo)
  func theOperatorsSpecMakesTheSameOperator(_ specimen: Specimen) throws {
    let operation = try specimen.make()
    let again = try OperatorSpec(parsing: operation.spec.description)
      .makeOperator(inputs: specimen.inputs, outputs: specimen.outputs)
    #expect(again.spec == operation.spec)
    #expect(again.shapes == operation.shapes)
  }

  @Test func balancedFactorsAreEvenAndHoldTheSize() {
    for size in 1...5000 {
      let factors = Factors.balanced(size)
      #expect(factors.first <= factors.second && factors.second <= 2 * factors.first)
      #expect(factors.product >= size)
      // No more padding than one row of either factor.
      #expect(factors.product - size < factors.first + factors.second, "\(size) → \(factors)")
    }
    let known = [
      384: Factors(16, 24), 1536: Factors(32, 48), 5120: Factors(64, 80), 11008: Factors(86, 128),
      3072: Factors(48, 64), 50304: Factors(192, 262), 1: Factors(1, 1), 152: Factors(11, 14),
    ]
    for (size, factors) in known { #expect(Factors.balanced(size) == factors) }
    // A prime: a fraction of a per cent of padding buys even factors.
    #expect(Factors.balanced(50257).product - 50257 < 250)
  }

  @Test func defaultFactorsNeverLoseRank() throws {
    for (inputs, outputs) in [(300, 312), (312, 300), (9, 10), (10, 9), (1, 7), (7, 1), (64, 152)] {
      for text in ["btt:rank=1", "monarch:blocks=1"] {
        let operation = try OperatorSpec(parsing: text)
          .makeOperator(inputs: inputs, outputs: outputs)
        #expect(operation.inputs == inputs)
      }
    }
  }
}
