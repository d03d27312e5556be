import Foundation
import Kernels
import MLX
import OrderedCollections
import TestSupport
import Testing

@testable import Operators

@Suite struct ProductPathTests {
  private let structure: StrassenTile
  private let parameters: Parameters
  private let x = MLXRandom.normal([2, 5, 10], key: MLXRandom.key(4))
  private let bias = MLXRandom.normal([7], key: MLXRandom.key(5))

  init() throws {
    structure = try StrassenTile(inputs: 10, outputs: 7, rank: 16)
    parameters = structure.initialize(key: MLXRandom.key(3))
  }

  @Test(.enabled(if: Device.default == .cpu, "there is a GPU"))
  func whereThereAreNoKernelsTheDefinitionIsTakenAndSaysWhy() throws {
    let choice = structure.choice(shape: [2, 5, 10], dtype: .float64, keepsDense: true)
    #expect(choice.path == .reference && choice.reason.contains("CPU"))
    let dense = Dense(inputs: 3, outputs: 2)
    #expect(dense.choice(shape: [1, 3], dtype: .float32, keepsDense: false).path == .reference)
  }

  @Test(arguments: KernelActivation.allCases)
  func theProductIsTheDefinitionWithBiasAndActivation(_ activation: KernelActivation) throws {
    let expected = activation(structure.apply(x, parameters) + bias)
    let tolerance = Tolerance.relative(Device.default == .gpu ? 1e-2 : 1e-5)
    try expectClose(
      structure.product(x, parameters, bias: bias, activation: activation), expected,
      tolerance)
    // Also where it was encoded once for several layers.
    let encoder = try #require(parameters["encoder"])
    let rows = structure.encodedRows(x, encoder)
    try expectClose(
      structure.product(rows, parameters, bias: bias, activation: activation), expected,
      tolerance)
    try expectClose(
      structure.apply(rows, parameters), structure.apply(x, parameters), tolerance)
  }

  @Test func wrongShapesGetTheDefinitionsError() {
    let failed = structure.kernelProduct(
      .zeros([2, 9]), parameters, bias: nil, activation: .none)
    #expect(failed.failure?.description.contains("[-1, 10]") == true)
    let missing = structure.kernelProduct(
      x, [:], bias: nil, activation: .none)
    #expect(missing.failure != nil)
  }

  // MARK: - On a GPU

  @Test(
    .enabled(if: Device.default == .gpu, "no GPU: `tessera doctor --check` runs these on one"),
    arguments: KernelCheck.cases)
  func kernelsAgreeWithTheDefinition(_ item: KernelCheck.Case) throws {
    for result in try KernelCheck.run(item) {
      #expect(result.isPassed, "\(result.what): \(result.worst)")
    }
  }

  @Test(
    .enabled(if: Device.default == .gpu, "no GPU: `tessera doctor --check` runs these on one"),
    arguments: FactorCheck.cases)
  func factorsAgreeWithTheDefinition(_ item: FactorCheck) throws {
    for result in try item.run() {
      #expect(result.isPassed, "\(result.what): \(result.worst)")
    }
  }

  @Test func onlyWhatAGPUHasInstructionsForIsChecked() {
    let counts = [8, 9, 10].map { major in
      let gpu = GPU(
        major: major, minor: 0, multiprocessors: 108, clock: 1.4e9, busBandwidth: 1.6e12,
        cache: 40 << 20)
      let cases = FactorCheck.cases.filter { $0.step.hasInstructions(for: $0.method, on: gpu) }
      return [FactorMethod.kernel, .warpgroups].map { method in
        cases.count { $0.method == method }
      }
    }
    #expect(counts[1][0] == counts[2][0] && counts[0][0] > 0 && counts[0][0] < counts[1][0])
    #expect(counts[0][1] == 0 && counts[1][1] > 0 && counts[2][1] == 0)
  }

  @Test func aCaseThatThrowsEndsTheCheckAndLeavesWhatWasFound() {
    let item = KernelCheck.Item(name: "a", what: "product", worst: 0.5, isPassed: true)
    #expect(KernelCheck([("a", { [item] })]).isPassed)
    let check = KernelCheck([
      ("a", { [item] }), ("b", { throw KernelError("it broke") }), ("c", { [item] }),
    ])
    #expect(check.items.count == 1 && !check.isPassed && check.ending == "b: it broke")
    #expect(check.table.contains("the check ended at b: it broke\n1 results, 0 failures"))
    #expect(check.table.contains("largest error 0.50"))
  }

  @Test func anInterruptedCheckKeepsWhatWasFoundAndDoesNotPass() {
    let item = KernelCheck.Item(name: "a", what: "product", worst: 0.5, isPassed: true)
    var begun: [String] = []
    let check = KernelCheck(
      [("a", { [item] }), ("b", { [item] }), ("c", { [item] })],
      progress: { begun.append("\($0) of \($1): \($2)") }, isStopRequested: { begun.count > 1 })
    #expect(begun == ["0 of 3: a", "1 of 3: b"])
    #expect(check.items.count == 1 && !check.isPassed)
    #expect(check.ending == "b: not run, since the check was interrupted")
  }

  @Test(.enabled(if: Device.default == .cpu, "there is a GPU"))
  func withoutAGPUThereIsNothingToCheck() {
    #expect(throws: KernelError.self) { try KernelCheck.runs { _ in true } }
  }
}
