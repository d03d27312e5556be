import Encoders
import Testing

@Suite struct NumericsTests {
  @Test func bfloat16RoundsToNearestTiesToEven() {
    #expect(bfloat16Rounded(1) == 1)
    // Spacing at 1 is 2⁻⁷: 1 + 2⁻⁸ is a tie between 1 and 1 + 2⁻⁷.
    #expect(bfloat16Rounded(1 + 0x1p-8) == 1)
    #expect(bfloat16Rounded(1 + 0x3p-8) == 1 + 0x1p-6)
    #expect(bfloat16Rounded(1 + 0x1.1p-8) == 1 + 0x1p-7)
    #expect(bfloat16Rounded(-3.01) == -3.015625)
    #expect(bfloat16Rounded(1e-300) == 0)
    #expect(bfloat16Rounded(3.4e38) == .infinity)
    #expect(bfloat16Rounded(-.infinity) == -.infinity)
    #expect(bfloat16Rounded(.nan).isNaN)
  }

  @Test func relativeRoundingIsAtMostTheUnitRoundoff() {
    for step in 1..<200 {
      let value = 0.013 * Double(step * step)
      #expect(abs(bfloat16Rounded(value) - value) <= 0x1p-8 * value)
    }
  }

  /// Noise gain predicts the order: the classical algorithm < Strassen < Winograd.
  @Test func roundingErrorGrowsWithTheNoiseGain() {
    let encoders = [
      Encoder.classical(tile: 2), ExactTable.strassen.encoder, ExactTable.winograd.encoder,
    ]
    let errors = encoders.map { $0.roundingError(size: 16, count: 2) }
    for (smaller, larger) in zip(errors, errors.dropFirst()) {
      #expect(smaller.encodedAndProducts < larger.encodedAndProducts)
    }
    // Inputs are bfloat16 already, so encoding by 0 and 1 rounds nothing.
    #expect(errors[0].encoded == 0)
    #expect(errors[0].dense > 0 && errors[0].dense < 0x1p-8)
    for error in errors { #expect(error.encoded <= error.encodedAndProducts) }
  }

  /// The choice of the default exact encoders rests on this.
  @Test func noiseGainOrdersTheExactTablesAsRoundingDoes() {
    for tile in [2, 4] {
      let tables = ExactTable.library.filter { $0.tile == tile }.map(\.encoder)
        .sorted { $0.noiseGain < $1.noiseGain }
      let errors = tables.map { $0.roundingError(size: 16, count: 2).encoded }
      #expect(errors == errors.sorted(), "tile \(tile)")
      for (table, error) in zip(tables, errors) {
        // About 5·10⁻⁶ times the gain, within a factor of two on small samples.
        let perGain = error * error / table.noiseGain
        #expect(perGain > 2.5e-6 && perGain < 1e-5, "\(table)")
      }
    }
  }
}
