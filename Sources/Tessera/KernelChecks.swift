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

  /// Runs all cases, or those whose name has `only` in it: under a minute on a CPU; on a GPU some minutes, the
  /// first time most of them to compile.
  ///
  /// Asked to stop, it ends before the next case. Throws where there is no such case.
  public init(
    only: String? = nil, progress: (Int, Int, String) -> Void = { _, _, _ in },
    isStopRequested: () -> Bool = { false }
  ) throws {
    let isAsked: (String) -> Bool = { name in only.map { name.contains($0) } ?? true }
    cpu = try CPUCheck(where: isAsked, isStopRequested: isStopRequested)
    switch GPU.current {
    case .failure(let error):
      reason = "no GPU kernels checked: \(error)"
    case .success:
      gpu = KernelCheck(
        try KernelCheck.runs(where: isAsked)
          + TrainingKernelCheck.runs().filter { isAsked($0.name) },
        progress: progress, isStopRequested: isStopRequested)
    }
    if let only, cpu.items.isEmpty, gpu?.items.isEmpty ?? true, gpu?.ending == nil {
      throw KernelError(
        "[doctor] expected a case with \"\(only)\" in its name, got none on this machine; without --only all run."
      )
    }
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
