import Foundation
import MLX
import MLXNN
import Models
import OrderedCollections

extension Study {
  /// The largest number of runs of a study.
  private static let largestCount = 10_000

  /// Reads a study, and checks it with the recipe and the data of every run.
  ///
  /// Throws ``RecipeError`` with everything that is wrong with it.
  public init(contentsOf url: URL) throws {
    let (text, folder) = try YAMLDocument.text(of: url, operation: "study")
    try self.init(text, folder: folder)
  }

  /// Reads the text of a study whose paths are relative to a folder.
  ///
  /// Throws ``RecipeError`` with everything that is wrong with it.
  public init(_ text: String, folder: URL) throws {
    let document = try YAMLDocument.parse(text, operation: "study")
    guard let object = document.object else {
      throw RecipeError(problems: [
        "[study] expected a mapping of keys to values, got \(document.kind)."
      ])
    }
    let root = RecipeSection(object, notes: RecipeSection.Notes(operation: "study"))
    let folder = URL(filePath: folder.path(percentEncoded: false), directoryHint: .isDirectory)
    let title = root.string("title")
    let output = root.string("output")
    let timingSteps = root.integer("timing", in: 0...100_000, default: 0)
    let base = try Study.recipe(root, folder: folder)
    let axes = (root.section("axes", isNeeded: true)?.entries ?? []).compactMap {
      StudyAxis($0.key, $0.value, root)
    }
    let analysis = StudyAnalysis(root, axes: axes.map(\.name))
    let points = Study.points(root, axes: axes, base: base)
    root.finish()
    if root.notes.problems.isEmpty { analysis.check(points.map(\.labels), axes.map(\.name), root) }
    guard root.notes.problems.isEmpty else { throw RecipeError(problems: root.notes.problems) }
    self.init(
      title: title, axes: axes.map(\.name), runs: try Study.checked(points), analysis: analysis,
      timingSteps: timingSteps,
      output: URL(filePath: output, relativeTo: folder).standardizedFileURL, definition: text)
  }

  /// The base recipe, in the file or in one of its own, with paths that hold anywhere.
  private static func recipe(_ root: RecipeSection, folder: URL) throws -> JSON {
    switch root.value("recipe", isNeeded: true) {
    case .string(let path)?:
      let url = URL(filePath: path, relativeTo: folder).standardizedFileURL
      guard let text = try? String(contentsOf: url, encoding: .utf8) else {
        root.note("recipe", expected: "a recipe or the path of one", got: "\"\(path)\"")
        return .null
      }
      return try YAMLDocument.parse(text).withPaths(
        relativeTo: url.deletingLastPathComponent())
    case .object(let object)?: return JSON.object(object).withPaths(relativeTo: folder)
    case let other?:
      root.note("recipe", expected: "a recipe or the path of one", got: other.kind)
      return .null
    case nil: return .null
    }
  }

  /// A place of the grid with its recipe.
  private struct Point {
    var labels: [String]
    var recipe: JSON
  }

  /// The points of all grids in their order, each once; the last axis varies fastest.
  private static func points(
    _ root: RecipeSection, axes: [StudyAxis], base: JSON
  ) -> [Point] {
    var result: [Point] = []
    var seen: Set<[String]> = []
    let grids = root.sections("grids")
    if root.has("grids") == false { root.note("grids", expected: "a list", got: "none") }
    for grid in grids {
      let start = changed(base, by: grid)
      var points = [Point(labels: [], recipe: start)]
      for axis in axes {
        guard let value = grid.value(axis.name) else {
          for index in points.indices { points[index].labels.append(axis.label(in: start)) }
          continue
        }
        let values = value.array ?? [value]
        guard points.count * max(1, values.count) <= largestCount else {
          grid.note(
            axis.name, expected: "at most \(largestCount) runs",
            got: "\(points.count * values.count)")
          return []
        }
        points = points.flatMap { point in
          values.compactMap { extend(point, axis, $0, grid) }
        }
      }
      grid.finish()
      result += points.filter { seen.insert($0.labels).inserted }
    }
    if result.isEmpty, root.notes.problems.isEmpty {
      root.note("grids", expected: "at least one run", got: "none")
    }
    return result
  }

  /// The recipe with what a grid sets for all its runs.
  private static func changed(_ base: JSON, by grid: RecipeSection) -> JSON {
    guard let section = grid.section("set") else { return base }
    return section.entries.reduce(base) { recipe, change in
      guard let next = recipe.setting(change.value, at: change.key.split(separator: ".")) else {
        noteOnce(grid, "set", expected: "keys that the recipe can have", got: "\"\(change.key)\"")
        return recipe
      }
      return next
    }
  }

  private static func extend(
    _ point: Point, _ axis: StudyAxis, _ value: JSON, _ grid: RecipeSection
  ) -> Point? {
    guard let label = StudyAxis.label(value), let changes = axis.changes(value) else {
      noteOnce(grid, axis.name, expected: axis.expectation, got: value.kind)
      return nil
    }
    var point = point
    point.labels.append(label)
    for (key, value) in changes {
      guard let recipe = point.recipe.setting(value, at: key.split(separator: ".")) else {
        noteOnce(grid, axis.name, expected: "keys that the recipe can have", got: "\"\(key)\"")
        return nil
      }
      point.recipe = recipe
    }
    return point
  }

  /// A note that the other points of a grid do not repeat.
  private static func noteOnce(
    _ section: RecipeSection, _ key: String, expected: String, got: String
  ) {
    let count = section.notes.problems.count
    section.note(key, expected: expected, got: got)
    if let last = section.notes.problems.last,
      section.notes.problems[..<count].contains(last)
    {
      section.notes.problems.removeLast()
    }
  }

  /// The runs, each with a sound recipe and data that fit.
  private static func checked(_ points: [Point]) throws -> [Run] {
    var problems: [String] = []
    var names: Set<String> = []
    var data: [String: TrainingData] = [:]
    var runs: [Run] = []
    for point in points {
      let name = folderName(point.labels)
      func note(_ problem: String) {
        // One sentence for what is wrong with many runs.
        guard !problems.contains(where: { $0.hasSuffix(problem) }) else { return }
        problems.append("[study] run \(name): \(problem)")
      }
      do {
        guard names.insert(name).inserted else {
          throw TrainingError("[study] expected labels that make names of their own, got two.")
        }
        runs.append(try run(point, name: name, data: &data))
      } catch let error as RecipeError {
        for problem in error.problems { note(problem) }
      } catch {
        note("\(error)")
      }
    }
    guard problems.isEmpty else { throw RecipeError(problems: problems) }
    return runs
  }

  private static func run(
    _ point: Point, name: String, data: inout [String: TrainingData]
  ) throws -> Run {
    guard case .object(var object) = point.recipe else {
      throw RecipeError(problems: ["[study] expected a recipe, got \(point.recipe.kind)."])
    }
    object["output"] = "run"
    let recipe = try Recipe(.object(object), folder: URL(filePath: "/"))
    object["output"] = nil
    let model = try recipe.makeModel(computing: false).module
    let longest = (model as? any LanguageModel)?.maximumLength ?? 1
    let length = recipe.length ?? longest
    let key = "\(length) \(recipe.data.path(percentEncoded: false))"
    let set =
      try data[key]
      ?? TrainingData.open(recipe.data, length: length, augmentation: .none, seed: 0)
    data[key] = set
    let objective = Objective(model: model, dtype: .float32, labelSmoothing: 0, teacher: nil)
    if let count = set.targetCount { try objective.check(targetCount: count) }
    try objective.check(try set.train.examples(0..<1))
    return Run(
      point: point.labels, name: name, document: JSON.object(object).encoded(),
      parameters: model.parameters().values.reduce(0) { $0 + $1.size },
      cost: TrainingCost(model, length: model is any LanguageModel ? length : 1),
      batch: recipe.batch)
  }

  /// Labels as the name of a folder.
  private static func folderName(_ labels: [String]) -> String {
    let name = labels.map { label in
      String(
        label.map { $0.isASCII && ($0.isLetter || $0.isNumber || ".-+=".contains($0)) ? $0 : "-" })
    }.joined(separator: "_")
    return name.hasPrefix(".") ? "_" + name : name
  }
}

extension JSON {
  /// A recipe whose paths are absolute.
  fileprivate func withPaths(relativeTo folder: URL) -> JSON {
    var recipe = self
    for key in ["data", "model.checkpoint", "distillation.teacher"] {
      let path = key.split(separator: ".")
      guard let text = recipe.value(at: path)?.string else { continue }
      let url = URL(filePath: text, relativeTo: folder).standardizedFileURL
      recipe = recipe.setting(.string(url.path(percentEncoded: false)), at: path) ?? recipe
    }
    return recipe
  }
}

extension StudyAnalysis {
  init(_ root: RecipeSection, axes: [String]) {
    func axis(_ section: RecipeSection, _ key: String) -> String {
      let name = section.string(key)
      if !name.isEmpty, !axes.contains(name) {
        section.note(
          key, expected: "an axis out of \(axes.joined(separator: ", "))", got: "\"\(name)\"")
      }
      return name
    }
    measure = root.choice("measure", default: .loss)
    if let section = root.section("optimum") {
      var optimum = Optimum(
        axis: axis(section, "axis"), across: axis(section, "across"), series: [])
      let names = section.value("series")?.array ?? []
      optimum.series = names.compactMap(\.string).filter(axes.contains)
      if optimum.series.count < names.count {
        section.note(
          "series", expected: "axes out of \(axes.joined(separator: ", "))",
          got: JSON.array(names).encoded())
      }
      self.optimum = optimum
      section.finish()
    }
    if let section = root.section("scaling") {
      scaling = Scaling(series: axis(section, "series"), baseline: section.string("baseline"))
      section.finish()
    }
    if root.has("repetitions") { repetitions = axis(root, "repetitions") }
    if root.has("best") { best = axis(root, "best") }
    for key in ["repetitions", "best"] { _ = root.value(key) }
  }

  /// Notes what the places of the runs do not allow: values of which there is no logarithm, a
  /// baseline that is none of them.
  func check(_ points: [[String]], _ axes: [String], _ root: RecipeSection) {
    func labels(_ axis: String) -> [String] {
      axes.firstIndex(of: axis).map { index in points.map { $0[index] } } ?? []
    }
    for (key, axis) in [("axis", optimum?.axis), ("across", optimum?.across)] {
      guard let axis, let wrong = labels(axis).first(where: { !((Double($0) ?? 0) > 0) }) else {
        continue
      }
      root.note("optimum.\(key)", expected: "an axis of positive numbers", got: "\"\(wrong)\"")
    }
    if let best, best == optimum?.axis || best == repetitions || best == scaling?.series {
      root.note("best", expected: "an axis with no other part in the study", got: "\"\(best)\"")
    }
    if let scaling, !labels(scaling.series).contains(scaling.baseline) {
      root.note(
        "scaling.baseline", expected: "a label of the axis \(scaling.series)",
        got: "\"\(scaling.baseline)\"")
    }
  }
}
