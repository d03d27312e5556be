import Foundation
import MLX
import MLXNN
import Models
import OrderedCollections
import TestSupport
import Testing

@testable import Training

@Suite struct ResumeTests {
  private struct Stop: Error {}

  private static let keys = [
    "mlp": "average: 0.9\nclip: 1\nschedule: {warm_up: 3}",
    "gpt2": "precision: bf16\naverage: 0.9\naccumulation: 2",
    "vit":
      "structures: [{layers: 'vit.encoder.layer.*', to: 'stl:rank=16'}]\nguided_steps: 6\naverage: 0.9",
    "llama": "structures: [{layers: '*.mlp.*', to: 'btt:rank=2,norm=true'}]\nguided_steps: 3",
  ]

  /// 20 steps at once, and 10 and 10 with an end between: the same bits.
  ///
  /// Fewer steps for slower models.
  @Test(arguments: keys.keys.sorted())
  func aResumedRunIsTheSameRun(_ name: String) throws {
    try withTemporaryFolder { folder in
      let (steps, half) = name == "mlp" ? (20, 10) : (8, 4)
      let keys =
        (Self.keys[name] ?? "")
        + "\noptimizer: {rate: 0.01, decay: 0.1}\ncheckpoints: {every: \(half / 2)}\nevaluation: {every: 4}"
      let whole = try Small.trainer(name, keys, steps: steps, in: folder.appending(path: "whole"))
      _ = try whole.run()
      let place = folder.appending(path: "parts")
      #expect(throws: Stop.self) {
        _ = try Small.trainer(name, keys, steps: steps, in: place).run {
          if $0.metric.step == half + 1 { throw Stop() }
        }
      }
      let resumed = try Small.trainer(name, keys, steps: steps, in: place)
      #expect(resumed.checkpoints.steps == [half / 2, half])
      var first: Int?
      let result = try resumed.run(resuming: true) { first = first ?? $0.metric.step }
      #expect(first == half + 1 && result.step == steps)
      try expectSameBits(
        whole.model.parameters().map { (key: $0.key, value: $0.value) }, resumed.parameters())
      let states = try [whole, resumed].map { trainer in
        try trainer.updater.wholeState().map { (key: $0.key, value: $0.value) }
          + (trainer.average?.values ?? [:]).map { (key: "average \($0.key)", value: $0.value) }
      }
      try expectSameBits(
        states[0], Dictionary(uniqueKeysWithValues: states[1].map { ($0.key, $0.value) }))
      func losses(_ trainer: Trainer) -> [Double?] {
        trainer.metrics.read().map { $0.loss ?? $0.validationLoss }
      }
      #expect(losses(whole) == losses(resumed))
    }
  }

  @Test func whoAsksToStopCanGoOn() throws {
    try withTemporaryFolder { folder in
      let keys = "optimizer: {rate: 0.01}"
      let whole = try Small.trainer("mlp", keys, steps: 9, in: folder.appending(path: "whole"))
      _ = try whole.run()
      let place = folder.appending(path: "parts")
      var asked = false
      let result = try Small.trainer("mlp", keys, steps: 9, in: place).run(
        progress: { asked = $0.metric.step >= 3 }, isStopRequested: { asked })
      #expect(result.ending == .interrupted && (4...6).contains(result.step))
      #expect(!FileManager.default.fileExists(atPath: place.appending(path: "run/model").path))
      let resumed = try Small.trainer("mlp", keys, steps: 9, in: place)
      #expect(try resumed.run(resuming: true).ending == .finished)
      try expectSameBits(
        whole.model.parameters().map { (key: $0.key, value: $0.value) }, resumed.parameters())
    }
  }

  @Test func onlyTheLastCheckpointsStay() throws {
    try withTemporaryFolder { folder in
      let trainer = try Small.trainer(
        "mlp", "checkpoints: {every: 2, keep: 3}", steps: 11, in: folder)
      _ = try trainer.run()
      #expect(trainer.checkpoints.steps == [8, 10, 11])
    }
  }

  /// What a kill leaves under a temporary name is never taken for a checkpoint, and goes.
  @Test func remainsOfAKillAreNoCheckpoints() throws {
    try withTemporaryFolder { folder in
      let recipe = "checkpoints: {every: 3}"
      #expect(throws: Stop.self) {
        _ = try Small.trainer("mlp", recipe, steps: 6, in: folder).run {
          if $0.metric.step == 5 { throw Stop() }
        }
      }
      let trainer = try Small.trainer("mlp", recipe, steps: 6, in: folder)
      let half = trainer.checkpoints.folder.appending(path: ".step-00000006.123.tmp")
      try FileManager.default.createDirectory(at: half, withIntermediateDirectories: true)
      try Data("half".utf8).write(to: half.appending(path: "model.safetensors"))
      try FileHandle(forWritingTo: trainer.metrics.url).close()
      #expect(trainer.checkpoints.steps == [3])
      #expect(try trainer.run(resuming: true).step == 6)
      #expect(!FileManager.default.fileExists(atPath: half.path))
      #expect(trainer.metrics.read().compactMap(\.loss).count == 6)
    }
  }

  @Test func aRunIsNotOverwrittenNorTakenForAnother() throws {
    try withTemporaryFolder { folder in
      _ = try Small.trainer("mlp", steps: 3, in: folder).run()
      func refusal(_ keys: String, steps: Int = 3, resuming: Bool) throws -> String {
        try #require(throws: TrainingError.self) {
          _ = try Small.trainer("mlp", keys, steps: steps, in: folder).run(resuming: resuming)
        }.description
      }
      #expect(try refusal("", resuming: false).contains("--resume"))
      #expect(try refusal("seed: 3", resuming: true).contains("another `seed`"))
      #expect(try refusal("", steps: 2, resuming: true).contains("more steps than the 3"))
      // More steps are the same run.
      #expect(try Small.trainer("mlp", steps: 5, in: folder).run(resuming: true).step == 5)
    }
  }
}
