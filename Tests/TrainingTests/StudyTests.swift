import Foundation
import MLX
import Reports
import TestSupport
import Testing

@testable import Training

@Suite struct StudyTests {
  /// A study whose data are really there.
  private func study(_ keys: String, in folder: URL) throws -> Study {
    let images = MLXRandom.normal([12, 4, 4, 1], key: MLXRandom.key(0))
    let classes = MLXArray((0..<12).map { Int32($0 % 3) }, [12])
    try save(
      arrays: [
        "inputs": images, "targets": classes, "validation_inputs": images,
        "validation_targets": classes,
      ], url: folder.appending(path: "data.safetensors"))
    return try Study(
      """
      title: small
      output: out
      recipe:
        model:
          type: mlp
          image_size: 4
          num_channels: 1
          hidden_size: 8
          num_hidden_layers: 2
          num_labels: 3
          hidden_act: relu
        structures: [{layers: "layers.1", to: dense}]
        data: data.safetensors
        batch: 4
        steps: 2
      \(keys)
      """, folder: folder)
  }

  private let plain = """
    axes:
      spec: structures.0.to
      width: [model.hidden_size]
      rules: {with: {}, without: {rules.rates: uniform}}
      rate: optimizer.rate
      seed: seed
    """

  private func problems(_ keys: String) throws -> [String] {
    try withTemporaryFolder { folder in
      try #require(throws: RecipeError.self) { try study(keys, in: folder) }.problems
    }
  }

  // MARK: - Grids

  @Test func gridsAreProductsInOrderAndEachPlaceIsThereOnce() throws {
    try withTemporaryFolder { folder in
      let study = try study(
        plain + """

          grids:
            - {spec: [dense, "btt:rank=1"], width: [8, 16], rate: 1e-3, rules: with}
            - {spec: dense, width: [16, 32], rate: 1e-3, rules: with}
            - {width: 8, set: {structures.0.to: "lowrank:rank=2"}, rules: without}
          """, in: folder)
      #expect(
        study.runs.map(\.point) == [
          ["dense", "8", "with", "0.001", "-"], ["dense", "16", "with", "0.001", "-"],
          ["btt:rank=1", "8", "with", "0.001", "-"], ["btt:rank=1", "16", "with", "0.001", "-"],
          ["dense", "32", "with", "0.001", "-"], ["lowrank:rank=2", "8", "without", "-", "-"],
        ])
      #expect(Set(study.runs.map(\.name)).count == 6)
      let recipes = try study.runs.map { try JSON(parsing: Array($0.document.utf8)) }
      #expect(recipes[3].value(at: ["model", "hidden_size"])?.integer == 16)
      #expect(recipes[3].value(at: ["structures", "0", "to"])?.string == "btt:rank=1")
      #expect(recipes[5].value(at: ["rules", "rates"])?.string == "uniform")
      // 16·8 + 8, 8·8 + 8 and 8·3 + 3 numbers.
      #expect(study.runs[0].parameters == 136 + 72 + 27)
      #expect(study.runs[0].cost.multiplyAdds == 128 + 64 + 24)
      // 2 (8 + 8) multiply-adds in the second layer.
      #expect(study.runs[5].cost.multiplyAdds == 128 + 32 + 24)
    }
  }

  @Test func aModelIsTimedOnceWhateverItsRateAndSeed() throws {
    try withTemporaryFolder { folder in
      let study = try study(
        plain + """

          timing: 5
          optimum: {axis: rate, across: width, series: [spec, rules]}
          repetitions: seed
          grids:
            - {spec: [dense, "btt:rank=1"], rate: [1e-3, 1e-2], seed: [0, 1], rules: with}
          """, in: folder)
      #expect(study.runs.count == 8)
      #expect(study.timedRuns.map { $0.point[0] } == ["dense", "btt:rank=1"])
    }
  }

  // MARK: - Wrong studies

  @Test(arguments: [
    ("axes: {rate: 3}\ngrids: [{}]", "`rate`"),
    ("axes: {rate: optimizer.rate}\ngrids: [{speed: 1}]", "`grids[0].speed`"),
    ("axes: {rate: optimizer.rate}\ngrids: []", "`grids`"),
    ("axes: {rate: optimizer.rate}", "`grids`"),
    ("axes: {spec: structures.3.to}\ngrids: [{spec: dense}]", "structures.3.to"),
    ("axes: {rules: {a: {}}}\ngrids: [{rules: b}]", "labels out of a"),
    ("axes: {rate: optimizer.rate}\ngrids: [{rate: 1}]\nmeasure: time", "`measure`"),
    ("axes: {rate: optimizer.rate}\ngrids: [{rate: 1}]\nrepetitions: seed", "`repetitions`"),
    ("axes: {rate: optimizer.rate}\ngrids: [{rate: -1}]", "`optimizer.rate`"),
    ("axes: {rate: optimizer.rate}\ngrids: [{rate: 1}]\nspeed: 3", "`speed`"),
    ("axes: {spec: structures.0.to}\ngrids: [{spec: [dense, \"btt:rank=0\"]}]", "btt:rank=0"),
    ("axes: {size: model.image_size}\ngrids: [{size: [4, 5, 6]}]", "[examples, 5, 5, 1]"),
    (
      "axes: {spec: structures.0.to}\ngrids: [{spec: dense}]\n"
        + "scaling: {series: spec, baseline: none}", "`scaling.baseline`"
    ),
    (
      "axes: {spec: structures.0.to, width: model.hidden_size}\ngrids: [{spec: dense, width: 8}]\n"
        + "optimum: {axis: spec, across: width, series: []}", "`optimum.axis`"
    ),
    ("axes: {seed: seed}\ngrids: [{seed: 0}]\nrepetitions: seed\nbest: seed", "`best`"),
    ("axes: {data: data}\ngrids: [{data: none.safetensors}]", "none.safetensors"),
  ])
  func whatIsWrongIsSaid(_ keys: String, _ words: String) throws {
    let problems = try problems(keys)
    #expect(problems.contains { $0.contains(words) }, "\(problems)")
    #expect(problems.count == (words.contains("examples") ? 2 : 1), "\(problems)")
    for problem in problems {
      #expect(problem.hasPrefix("[study]") && problem.hasSuffix("."), "\(problem)")
    }
  }

  @Test func aProductThatIsTooLargeIsRefusedBeforeItIsMade() throws {
    let many = (0..<200).map(String.init).joined(separator: ", ")
    let keys =
      "axes: {seed: seed, rate: optimizer.rate, batch: batch}\ngrids: [{seed: [\(many)], "
      + "rate: [\(many)], batch: [\(many)]}]"
    #expect(try problems(keys).first?.contains("at most 10000 runs") == true)
  }

  // MARK: - What is read off

  @Test func aPowerIsFoundInItsPoints() throws {
    let exact = try #require(PowerFit([1.0, 2, 4, 9].map { (x: $0, y: 3 * pow($0, -0.25)) }))
    #expect(abs(exact.exponent - 0.25) < 1e-12 && exact.halfInterval < 1e-9)
    #expect(abs(exact.value(at: 16) - 1.5) < 1e-12)
    // Golden: numpy.polyfit of the logarithms, and the t of 3 degrees of freedom, 3.182446.
    let noisy = try #require(
      PowerFit(zip([1.0, 2, 4, 8, 16], [1.0, 0.9, 0.7, 0.66, 0.5]).map { (x: $0, y: $1) }))
    #expect(abs(noisy.exponent - 0.244745898) < 1e-6)
    #expect(abs(noisy.halfInterval - 0.084707) < 1e-4)
    #expect(PowerFit([(x: 1, y: 1)]) == nil && PowerFit([(x: 1, y: 1), (x: 1, y: 2)]) == nil)
    #expect(PowerFit([(x: 1, y: 1), (x: 2, y: 0)]) == nil)
    #expect(PowerFit([(x: 1, y: 1), (x: 2, y: 2)])?.halfInterval == .infinity)
  }

  @Test func quantilesGoOnSmoothly() {
    // scipy.stats.t.ppf(0.975, [21, 30, 100]).
    for (freedom, value) in [(21, 2.0796), (30, 2.0423), (100, 1.9840)] {
      #expect(abs(PowerFit.quantile(freedom) - value) < 1e-3)
    }
  }

  @Test func theVertexOfAParabolaIsFound() throws {
    let points = (-3...3).map { place -> (x: Double, y: Double) in
      (exp2(Double(place)), 2 + pow(Double(place) - 0.3, 2))
    }
    let optimum = try #require(CurveOptimum(points))
    #expect(abs(optimum.octaves - 0.3) < 1e-12 && !optimum.isAtEdge)
    let edge = try #require(CurveOptimum(Array(points.prefix(3))))
    #expect(edge.octaves == -1 && edge.isAtEdge)
    #expect(CurveOptimum([(x: 1, y: .infinity)]) == nil)
  }

  @Test func betweenPointsPowersAreStraight() throws {
    let points = [1.0, 4, 64].map { (x: $0, y: pow($0, -0.5)) }
    let value = try #require(interpolated(points, at: 16))
    #expect(abs(value - 0.25) < 1e-12)
    #expect(interpolated(points, at: 0.5) == nil && interpolated(points, at: 65) == nil)
  }

  /// Results of a study of rates in which the best one falls by an octave as the width doubles.
  private func results() throws -> StudyResults {
    let text = """
      {"version": 1, "title": "t", "command": "c", "gpus": 0, "jobs": 1, "seconds": 1,
       "machine": {"processor": "p", "cores": 1, "engine": "e", "blas": "b", "date": "d"},
       "axes": ["spec", "width", "rate", "seed"], "unit": "images", "definition": "",
       "analysis": {"measure": "loss", "repetitions": "seed",
         "optimum": {"axis": "rate", "across": "width", "series": ["spec"]},
         "scaling": {"series": "spec", "baseline": "dense"}}, "rows": []}
      """
    var results = try withTemporaryFolder { folder in
      let file = folder.appending(path: "study.json")
      try Data(text.utf8).write(to: file)
      return try StudyResults(contentsOf: file)
    }
    for (width, best) in [(8, 0.0), (16, -1.0)] {
      for place in -4...4 {
        for seed in 0...1 {
          let loss = pow(Double(place) - best, 2) + 1 + Double(seed)
          results.rows.append(
            StudyResults.Row(
              point: ["dense", "\(width)", "\(exp2(Double(place)))", "\(seed)"], status: .finished,
              parameters: width, multiplyAdds: Double(width), validationLoss: loss))
        }
      }
    }
    return results
  }

  @Test func theOptimumsDriftIsMeasuredInOctaves() throws {
    var results = try results()
    #expect(results.groups.count == 18)
    let first = try #require(results.groups.first)
    #expect(first.mean == 17.5 && first.scores.count == 2)
    #expect(abs((first.deviation ?? 0) - 0.5.squareRoot()) < 1e-12)
    let drift = try #require(results.drifts.first)
    #expect(results.drifts.count == 1 && drift.series == "dense" && !drift.isBound)
    #expect(abs(drift.octaves + 1) < 1e-12 && abs(drift.range - 1) < 1e-12)
    // A run that failed, or whose loss is not finite, has no score.
    results.rows[0].status = .failed
    results.rows[1].validationLoss = .infinity
    #expect(results.groups.first?.mean == nil)
    #expect(results.html().contains("<table>"))
  }

  @Test func ofPlacesThatDifferInRateTheBestCounts() throws {
    var results = try results()
    results.analysis.optimum = nil
    results.analysis.best = "rate"
    #expect(results.groups.map(\.point) == [["dense", "8", "1.0"], ["dense", "16", "0.5"]])
    #expect(results.groups.map(\.mean) == [1.5, 1.5])
    // A rate without a score is never the best one; a model without any keeps its place.
    for index in results.rows.indices where results.rows[index].point[2] == "1.0" {
      results.rows[index].validationLoss = .nan
    }
    #expect(results.groups.first?.point != ["dense", "8", "1.0"])
    for index in results.rows.indices where results.rows[index].point[1] == "8" {
      results.rows[index].status = .failed
    }
    #expect(results.groups.count == 2 && results.groups.first?.mean == nil)
  }

  @Test func rivalsAreTakenFromTheBaselineAlone() throws {
    var results = try results()
    results.analysis.optimum = nil
    results.analysis.repetitions = nil
    results.axes = ["spec"]
    results.rows = [("dense", 1.0, 1.0), ("dense", 4, 0.5), ("btt", 2, 0.1)].map {
      StudyResults.Row(
        point: [$0.0], status: .finished, parameters: Int(10 * $0.1), multiplyAdds: $0.1,
        validationLoss: $0.2)
    }
    // Two rows at one place are its repetitions; the rivals are between places.
    results.axes = ["spec", "width"]
    for index in results.rows.indices { results.rows[index].point.append("\(index)") }
    let rival = try #require(results.rival(at: 2) { $0.multiplyAdds })
    #expect(abs(rival - 0.5.squareRoot()) < 1e-12)
    #expect(results.rival(at: 8) { $0.multiplyAdds } == nil)
  }

  @Test func aFileThatIsNoResultIsRefused() throws {
    try withTemporaryFolder { folder in
      let file = folder.appending(path: "a.json")
      try Data("{}".utf8).write(to: file)
      let error = try #require(throws: TrainingError.self) { try StudyResults(contentsOf: file) }
      #expect(error.description.hasPrefix("[study]"))
    }
  }

  // MARK: - GPUs and folders

  @Test func childrenAreSharedOutToVisibleGPUs() {
    #expect(StudyRunner.gpus(visible: nil, count: 3) == ["0", "1", "2"])
    #expect(StudyRunner.gpus(visible: "3,5", count: 2) == ["3", "5"])
    #expect(StudyRunner.gpus(visible: "GPU-a, GPU-b", count: 2) == ["GPU-a", "GPU-b"])
    #expect(StudyRunner.gpus(visible: "0", count: 0).isEmpty)
  }

  @Test func aRunForItsFiguresLeavesNoWeights() throws {
    try withTemporaryFolder { folder in
      let trainer = try Small.trainer("mlp", "checkpoints: {keep: 0}", in: folder)
      let result = try trainer.run()
      #expect(result.ending == .finished && result.checkpoint == nil)
      let names = try FileManager.default.subpathsOfDirectory(
        atPath: folder.appending(path: "run").path)
      #expect(!names.contains { $0.hasSuffix(".safetensors") }, "\(names)")
    }
  }
}
