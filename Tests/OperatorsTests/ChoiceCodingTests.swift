import Foundation
import Testing

@testable import Operators

@Suite struct ChoiceCodingTests {
  private func json(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }

  @Test func predictionsAreAnObjectByPath() throws {
    let choice = ProductChoice(
      .kernels, because: "they are", predictions: [.kernels: 0.25, .dense: 0.5])
    let text = try json(choice)
    #expect(text.contains(#""predictions":{"dense":0.5,"kernels":0.25}"#), "\(text)")
    #expect(try JSONDecoder().decode(ProductChoice.self, from: Data(text.utf8)) == choice)
  }

  @Test func predictionsAndObstaclesAreObjectsByMethod() throws {
    let choice = FactorChoice(
      method: .strided, predictions: [.strided: 0.25], obstacles: [.kernel: "no", .turned: "nor"])
    let text = try json(choice)
    #expect(text.contains(#""predictions":{"strided":0.25}"#), "\(text)")
    #expect(text.contains(#""obstacles":{"kernel":"no","turned":"nor"}"#), "\(text)")
    #expect(try JSONDecoder().decode(FactorChoice.self, from: Data(text.utf8)) == choice)
  }
}
