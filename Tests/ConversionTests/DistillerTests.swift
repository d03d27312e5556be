import Layers
import MLX
import MLXNN
import Models
import OrderedCollections
import TestSupport
import Testing

@testable import Conversion

@Suite struct DistillerTests {
  private func losses(
    _ pair: Pair, _ phase: Distiller.Phase, steps: Int
  ) throws -> [Double] {
    // One batch, so that losses of different steps can be compared.
    let batch = try #require(pair.training.examples.max { $0.count < $1.count })
    var losses: [Double] = []
    var distiller = Distiller(
      student: ConvertibleSentenceEncoder(pair.converted),
      teacher: ConvertibleSentenceEncoder(pair.original))
    // Without a warm-up worth the name Adam's first steps, all of one sign, have to be small ones.
    distiller.relativeStep = 0.0005
    try distiller.run(phase, steps: steps, batches: [batch]) { step, loss in
      losses.append(loss)
      #expect(step == losses.count)
    }
    return losses
  }

  @Test(arguments: ["lowrank:rank=4", "2:4", "stl:rank=24"])
  func bothPhasesLowerTheLoss(_ spec: String) throws {
    let pair = try Pair(spec)
    try pair.fit()
    for phase in [Distiller.Phase.layers, .endToEnd] {
      let losses = try losses(pair, phase, steps: 12)
      let (first, last) = (try #require(losses.first), try #require(losses.last))
      #expect(losses.count == 12 && last < first, "\(phase): \(losses)")
    }
  }

  @Test func distillationRaisesTheFidelity() throws {
    let pair = try Pair("lowrank:rank=4", texts: 300)
    try pair.fit()
    let before = try pair.fidelity()
    var distiller = Distiller(
      student: ConvertibleSentenceEncoder(pair.converted),
      teacher: ConvertibleSentenceEncoder(pair.original))
    distiller.relativeStep = 0.005
    try distiller.run(.endToEnd, steps: 60, batches: pair.training.examples) { _, _ in }
    let after = try pair.fidelity()
    #expect(after[.cosine] > before[.cosine], "\(before[.cosine]) to \(after[.cosine])")
  }

  @Test func onlyTheStudentLearnsAndItsTablesStay() throws {
    let pair = try Pair("2:4")
    try pair.fit()
    func values(_ model: BERTModel) throws -> [String: [Double]] {
      try Dictionary(
        uniqueKeysWithValues: model.parameters().map { ($0, try $1.asArray(Double.self)) })
    }
    let (teacher, student) = (try values(pair.original.model), try values(pair.converted.model))
    _ = try losses(pair, .endToEnd, steps: 2)
    #expect(try values(pair.original.model) == teacher)
    let after = try values(pair.converted.model)
    for (path, old) in student {
      let stays =
        path.hasPrefix("embeddings.") || path.hasPrefix("pooler.") || path.hasSuffix("indices")
      // The gradient of the keys' bias is zero: it adds the same to all scores of a query.
      if !path.hasSuffix("key.bias") { #expect((after[path] == old) == stays, "\(path)") }
    }
  }

  @Test func aLossThatIsNotFiniteStopsTheWork() throws {
    let pair = try Pair("lowrank:rank=4")
    try pair.fit()
    let path = "encoder.layer.0.output.dense.bias"
    try pair.converted.model.update(
      parameters: [(key: path, value: .full([39], values: MLXArray(Float.nan)))],
      verify: .noUnusedKeys)
    let error = try #require(throws: ConversionError.self) {
      try losses(pair, .layers, steps: 2)
    }
    #expect(error.description.contains("finite loss") && error.description.contains("step 0"))
  }

  @Test func noStepsDoNothing() throws {
    let pair = try Pair("2:4", texts: 3)
    try Distiller(
      student: ConvertibleSentenceEncoder(pair.converted),
      teacher: ConvertibleSentenceEncoder(pair.original)
    ).run(
      .layers, steps: 0, batches: pair.training.examples
    ) { _, _ in Issue.record("a step was made") }
  }
}
