import Foundation
import Kernels
import Operators

/// Every kernel of this machine against its definition: the CPU's, and the GPU's where there is one.
public struct KernelChecks: Codable, Sendable {
  /// The CPU's.
  public var cpu: CPUCheck
  /// The GPU's.
  public var gpu: KernelCheck?
  /// Why the GPU's are missing.
  public var reason: String?

  /// Runs all cases: under a minute on a CPU; on a GPU some two minutes, most of them to compile.
  public init() throws {
    cpu = try CPUCheck()
    do throws(KernelError) {
      _ = try GPU.current.get()
    } catch {
      reason = "no GPU kernels checked: \(error)"
      return
    }
    var check = try KernelCheck()
    check.add(TrainingKernelCheck.runs())
    gpu = check
  }

  /// Whether all passed.
  public var isPassed: Bool { cpu.isPassed && gpu?.isPassed ?? true }

  /// The failures, and a line for each processor.
  public var table: String {
    let failures = cpu.items.filter { !$0.isPassed }
    let worst = cpu.items.map(\.worst).max() ?? 0
    let lines =
      failures.map { "\($0.name), \($0.what): error \($0.worst) of what is allowed" }
      + [
        "CPU: \(cpu.items.count) results, \(failures.count) failures, "
          + "largest error \(String(format: "%.2f", worst)) of what is allowed",
        gpu.map { "GPU: \($0.table)" } ?? reason,
      ].compactMap(\.self)
    return lines.joined(separator: "\n")
  }
}
