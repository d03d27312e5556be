import Foundation
import MLX

/// What a measurement was taken on.
public struct MachineSheet: Codable, Hashable, Sendable {
  /// The processor's name.
  public var processor: String
  /// Cores the process may use.
  public var cores: Int
  /// The GPU's name, if the work ran there.
  public var gpu: String?
  /// MLX's version.
  public var engine: String
  /// The file name of the BLAS in use.
  public var blas: String
  /// The day, in ISO 8601.
  public var date: String

  package init(
    processor: String, cores: Int, gpu: String?, engine: String, blas: String, date: String
  ) {
    self.processor = processor
    self.cores = cores
    self.gpu = gpu
    self.engine = engine
    self.blas = blas
    self.date = date
  }

  /// This machine, now.
  public static func current() -> MachineSheet {
    let information = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    let name = information.split(separator: "\n").first { $0.hasPrefix("model name") }
    return MachineSheet(
      processor: name?.split(separator: ":").last.map {
        $0.trimmingCharacters(in: .whitespaces)
      } ?? "unknown",
      cores: ProcessInfo.processInfo.activeProcessorCount,
      gpu: Device.default == .gpu ? Device.gpu.information["device_name"] : nil,
      engine: "MLX \(Engine.version)",
      blas: Engine.blas.map { URL(filePath: $0).lastPathComponent } ?? "none",
      date: Date.now.formatted(.iso8601.year().month().day()))
  }

  /// One line.
  public var summary: String {
    let place = gpu.map { "\($0), " } ?? ""
    return "\(place)\(processor), \(cores) cores, \(engine), \(blas), \(date)"
  }
}
