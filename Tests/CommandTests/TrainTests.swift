import Foundation
import MLX
import TestSupport
import Tessera
import Testing

@Suite struct TrainTests {
  /// A recipe, and its data beside it.
  private func writeRecipe(
    _ folder: URL, _ name: String, _ keys: String = "", steps: Int = 6, width: Int = 8
  ) throws -> String {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let rows = (0..<24).flatMap { row in (0..<8).map { Int32((row * 5 + $0) % 12) } }
    let inputs = MLXArray(rows, [24, 8])
    let targets = (inputs + 1) % MLXArray(Int32(12))
    try save(
      arrays: [
        "inputs": inputs, "targets": targets, "validation_inputs": inputs[..<8],
        "validation_targets": targets[..<8],
      ], url: folder.appending(path: "data.safetensors"))
    let recipe = """
      model: {type: gpt2, vocab_size: 12, n_positions: 8, n_embd: \(width), n_layer: 1, n_head: 2}
      data: data.safetensors
      output: \(name)
      steps: \(steps)
      batch: 8
      clip: 1
      optimizer: {rate: 0.01}
      compile: false
      \(keys)
      """
    let url = folder.appending(path: "\(name).yaml")
    try Data(recipe.utf8).write(to: url)
    return url.path
  }

  private func weights(_ folder: URL, _ name: String) throws -> [String: MLXArray] {
    try loadArrays(url: folder.appending(path: "\(name)/model/model.safetensors"))
  }

  private func losses(_ folder: URL, _ name: String) throws -> [Double] {
    let text = try String(
      contentsOf: folder.appending(path: "\(name)/metrics.jsonl"), encoding: .utf8)
    return try text.split(separator: "\n").compactMap {
      try JSON(parsing: Array($0.utf8))["loss"]?.double
    }
  }

  private func expectSameBits(
    _ first: [String: MLXArray], _ second: [String: MLXArray]
  ) throws {
    #expect(first.count == second.count && !first.isEmpty)
    for (name, array) in first {
      let other = try #require(second[name])
      #expect(try arrayEqual(array, other).item(Bool.self), "\(name)")
    }
  }

  @Test func aRecipeIsTrained() throws {
    try withTemporaryFolder { folder in
      let recipe = try writeRecipe(folder, "run", "average: 0.9")
      #expect(try Tool.run(["train", recipe, "--check"]).output.contains("sound"))
      #expect(!FileManager.default.fileExists(atPath: folder.file("run")))
      let result = try Tool.run(["train", recipe, "--json"])
      #expect(result.status == 0, "\(result.errors)")
      let document = try JSON(parsing: Array(result.output.utf8))
      #expect(document["step"]?.integer == 6 && document["ending"]?.string == "finished")
      #expect(try losses(folder, "run").count == 6)
      for name in ["model/config.json", "model-average/config.json", "report.html"] {
        #expect(FileManager.default.fileExists(atPath: folder.file("run/\(name)")), "\(name)")
      }
      let again = try Tool.run(["train", recipe])
      #expect(again.status == 1 && again.sentences.count == 1)
      #expect(again.errors.contains("--resume"))
    }
  }

  @Test func problemsAreSentences() throws {
    try withTemporaryFolder { folder in
      let missing = try Tool.run(["train", folder.file("none.yaml")])
      #expect(missing.status == 1 && missing.sentences.count == 1)
      #expect(missing.errors.contains("none.yaml"))
      let recipe = try writeRecipe(folder, "run", "precision: f8\nseeds: 3")
      let result = try Tool.run(["train", recipe])
      #expect(result.status == 1 && result.output.isEmpty)
      #expect(result.sentences.count == 2, "\(result.errors)")
      #expect(result.errors.contains("`precision`") && result.errors.contains("`seeds`"))
    }
  }

  @Test(arguments: [SIGINT, SIGTERM])
  func anInterruptionLeavesACheckpoint(_ signal: Int32) throws {
    try withTemporaryFolder { folder in
      let recipe = try writeRecipe(folder, "run", steps: 100_000)
      let stopped = try Tool.run(["train", recipe], interruptAt: "train", signal: signal)
      #expect(stopped.status == 128 + signal && !stopped.wasKilled)
      #expect(stopped.errors.contains("--resume"), "\(stopped.errors)")
      let folders = try folder.appending(path: "run/checkpoints").names
      #expect(folders.count == 1 && folders[0].hasPrefix("step-"))
      #expect(!FileManager.default.fileExists(atPath: folder.file("run/model")))
    }
  }

  /// kill -9 again and again, each time while a checkpoint is being written.
  @Test func aKilledRunGoesOn() throws {
    try withTemporaryFolder { folder in
      let keys = "checkpoints: {every: 1}"
      let whole = try Tool.run(
        ["train", writeRecipe(folder, "whole", keys, steps: 8, width: 96)])
      #expect(whole.status == 0, "\(whole.errors)")
      let recipe = try writeRecipe(folder, "parts", keys, steps: 8, width: 96)
      let checkpoints = folder.appending(path: "parts/checkpoints")
      var kills = 0
      for round in 1...3 {
        var wasKilled = false
        let result = try Tool.run(["train", recipe, "--resume"]) { process in
          let names = (try? checkpoints.names) ?? []
          let isWriting = names.contains { $0.hasPrefix(".step-") }
          guard !wasKilled, isWriting, names.count > round else { return }
          wasKilled = kill(process, SIGKILL) == 0
        }
        if result.wasKilled { kills += 1 }
      }
      #expect(kills > 0)
      let last = try Tool.run(["train", recipe, "--resume"])
      #expect(last.status == 0, "\(last.errors)")
      try expectSameBits(weights(folder, "whole"), weights(folder, "parts"))
      #expect(try losses(folder, "whole") == losses(folder, "parts"))
      #expect(try checkpoints.names.allSatisfy { $0.hasPrefix("step-") })
    }
  }

  // MARK: - Several processes

  @Test(
    .enabled(if: Several.isInstalled, "mpirun is not installed"),
    arguments: [
      ("", false), ("processes: {shard_optimizer: true}", false),
      ("precision: bf16\nprocesses: {shard_optimizer: true}", false),
      ("accumulation: 2", true),
    ])
  func twoProcessesSeeTheLossesOfOne(_ keys: String, _ compiles: Bool) throws {
    try withTemporaryFolder { folder in
      let more = "evaluation: {every: 3}\naverage: 0.9\n"
      let alone = try writeRecipe(
        folder, "alone", more + keys.replacing("processes: {shard_optimizer: true}", with: ""))
      #expect(try Tool.run(["train", alone]).status == 0)
      let pair = try writeRecipe(folder, "pair", more + keys)
      let result = try Tool.run(["train", pair, "--json"], under: Several.arguments(2))
      #expect(result.status == 0, "\(result.errors)")
      #expect(try JSON(parsing: Array(result.output.utf8))["processes"]?.integer == 2)
      let tolerance = keys.contains("bf16") ? 0.02 : 1e-5
      let (first, second) = try (losses(folder, "alone"), losses(folder, "pair"))
      #expect(first.count == 6 && second.count == 6)
      for (one, two) in zip(first, second) { #expect(abs(one - two) < tolerance) }
      // A checkpoint of two goes on with one: the same steps, however they are shared.
      let text = try String(contentsOfFile: pair, encoding: .utf8)
        .replacing("steps: 6", with: "steps: 9")
      try Data(text.utf8).write(to: URL(filePath: pair))
      let resumed = try Tool.run(["train", pair, "--resume"])
      #expect(resumed.status == 0, "\(resumed.errors)")
      #expect(try losses(folder, "pair").count == 9)
    }
  }

  /// Two folders stand for the disks of two hosts.
  @Test(.enabled(if: Several.isInstalled, "mpirun is not installed"))
  func hostsGoOnFromOnePlaceByOneRecipe() throws {
    try withTemporaryFolder { folder in
      let hosts = ["a", "b"].map { folder.appending(path: $0) }
      func recipes(_ keys: [String], steps: Int) throws -> [String] {
        try zip(hosts, keys).map { try writeRecipe($0, "run", $1, steps: steps) }
      }
      func train(_ recipes: [String], _ options: String...) throws -> Tool.Result {
        try Tool.run(
          ["train", recipes[0]] + options + [":", "-n", "1", Tool.program.path, "train"]
            + [recipes[1]] + options, under: Several.arguments(1))
      }
      let different = try train(recipes(["", "average: 0.9"], steps: 4))
      #expect(different.status != 0 && different.errors.contains("one recipe for all 2 processes"))
      let done = try train(recipes(["", ""], steps: 4))
      #expect(done.status == 0, "\(done.errors)")
      // The first process writes.
      #expect(try losses(hosts[0], "run").count == 4)
      #expect(!FileManager.default.fileExists(atPath: hosts[1].file("run")))
      let more = try recipes(["", ""], steps: 6)
      let over = try train(more)
      #expect(over.status != 0 && over.errors.contains("continue it with --resume"))
      let apart = try train(more, "--resume")
      #expect(apart.status != 0 && apart.errors.contains("got steps 4, 0;"), "\(apart.errors)")
      try FileManager.default.copyItem(
        at: hosts[0].appending(path: "run"), to: hosts[1].appending(path: "run"))
      let together = try train(more, "--resume")
      #expect(together.status == 0, "\(together.errors)")
      #expect(try losses(hosts[0], "run").count == 6 && losses(hosts[1], "run").count == 4)
    }
  }

  @Test(.enabled(if: Several.isInstalled, "mpirun is not installed"))
  func aProcessThatDiesEndsTheJobWithAWholeCheckpoint() throws {
    try withTemporaryFolder { folder in
      let recipe = try writeRecipe(
        folder, "run", "checkpoints: {every: 5}\nprocesses: {shard_optimizer: true}",
        steps: 100_000)
      let checkpoints = folder.appending(path: "run/checkpoints")
      var victim: pid_t?
      let result = try Tool.run(["train", recipe], under: Several.arguments(2)) { launcher in
        let names = (try? checkpoints.names) ?? []
        guard victim == nil, names.contains(where: { $0.hasPrefix("step-") }),
          let child = Several.children(of: launcher).last
        else { return }
        victim = child
        kill(child, SIGKILL)
      }
      #expect(victim != nil && result.status != 0)
      #expect((result.errors + result.output).contains("signal 9"), "\(result.errors)")
      // Whole, so that one process alone goes on from it.
      let steps = try checkpoints.names.compactMap { Int($0.dropFirst(5)) }
      let last = try #require(steps.max())
      let text = try String(contentsOfFile: recipe, encoding: .utf8)
        .replacing("steps: 100000", with: "steps: \(last + 2)")
      try Data(text.utf8).write(to: URL(filePath: recipe))
      let resumed = try Tool.run(["train", recipe, "--resume"])
      #expect(resumed.status == 0, "\(resumed.errors)")
      #expect(try losses(folder, "run").count == last + 2)
    }
  }
}

/// The launcher of several processes.
enum Several {
  static let launcher = "/usr/bin/mpirun"
  static let isInstalled = FileManager.default.isExecutableFile(atPath: launcher)

  static func arguments(_ count: Int) -> [String] {
    [launcher, "-n", "\(count)", "--allow-run-as-root", "--oversubscribe"]
  }

  /// The processes that a process started.
  static func children(of parent: pid_t) -> [pid_t] {
    let text = try? String(
      contentsOfFile: "/proc/\(parent)/task/\(parent)/children", encoding: .utf8)
    return (text ?? "").split(separator: " ").compactMap { pid_t($0) }
  }
}
