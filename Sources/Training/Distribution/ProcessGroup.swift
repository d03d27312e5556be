import Foundation
import MLX

/// The processes that train one model together, each on its part of every batch.
///
/// `mpirun -n 4 tessera train ...` starts them; without it there is one. On CPUs they talk over MPI,
/// on GPUs over NCCL.
public struct ProcessGroup {
  private let group: DistributedGroup?
  /// Whether the back end can sum and share out in one operation; MPI's cannot.
  private let scatters: Bool

  /// This process's number, from 0.
  public let rank: Int
  /// How many processes there are.
  public let size: Int

  /// One process alone.
  public static var single: ProcessGroup { ProcessGroup() }

  private init() {
    (group, scatters, rank, size) = (nil, false, 0, 1)
  }

  private init(_ group: DistributedGroup, scatters: Bool) {
    (self.group, self.scatters) = (group, scatters)
    (rank, size) = (group.rank, group.size)
  }

  /// Joins the processes that `mpirun` started together with this one.
  ///
  /// To be called before anything else touches the GPU, since it chooses this process's. Over NCCL
  /// the processes meet at `NCCL_HOST_IP` and `NCCL_PORT`: where the first of them runs, and by
  /// default on this host if all do.
  ///
  /// Throws where several were started and cannot reach each other.
  public static func join() throws -> ProcessGroup {
    let environment = ProcessInfo.processInfo.environment
    guard let size = environment["OMPI_COMM_WORLD_SIZE"].flatMap({ Int($0) }), size > 1 else {
      return .single
    }
    let rank = environment["OMPI_COMM_WORLD_RANK"] ?? "0"
    let local = environment["OMPI_COMM_WORLD_LOCAL_RANK"].flatMap { Int($0) } ?? 0
    let devices = environment["CUDA_VISIBLE_DEVICES"]?.split(separator: ",").map(String.init)
    let device = devices.map { $0.isEmpty ? "" : $0[local % $0.count] } ?? "\(local)"
    setenv("CUDA_VISIBLE_DEVICES", device, 1)
    let usesGPU = Device.default == .gpu
    if usesGPU {
      try checkMeetingPlace(environment, size: size)
      // The names under which MLX's NCCL back end looks for them.
      setenv("MLX_RANK", rank, 1)
      setenv("MLX_WORLD_SIZE", "\(size)", 1)
      setenv("NCCL_HOST_IP", "127.0.0.1", 0)
      setenv("NCCL_PORT", "29517", 0)
    }
    let backend = usesGPU ? "nccl" : "mpi"
    do {
      let group = try DistributedGroup(strict: true, backend: backend)
      guard group.size == size else {
        throw MLXError("the back end sees \(group.size)")
      }
      return ProcessGroup(group, scatters: usesGPU)
    } catch {
      throw TrainingError(
        "[processes] expected \(size) processes to meet over \(backend), got: \(error); see "
          + "`tessera doctor` for what is installed.")
    }
  }

  /// Throws where processes of several hosts would each look for the first on their own.
  static func checkMeetingPlace(_ environment: [String: String], size: Int) throws {
    let local = environment["OMPI_COMM_WORLD_LOCAL_SIZE"].flatMap { Int($0) } ?? size
    guard local < size, environment["NCCL_HOST_IP"] == nil else { return }
    throw TrainingError(
      "[processes] expected NCCL_HOST_IP, the address of the host with the first process, since "
        + "\(size - local) of \(size) processes are on other hosts, got none; add "
        + "-x NCCL_HOST_IP=ADDRESS to mpirun's options.")
  }

  /// The mean of the array over all processes.
  func mean(_ array: MLXArray) -> MLXArray {
    guard let group else { return array }
    return group.allSum(array) * (1 / Float(size))
  }

  /// The sum of the array over all processes.
  func sum(_ array: MLXArray) -> MLXArray { group?.allSum(array) ?? array }

  /// This process's part of the mean of a vector whose length the number of processes divides.
  func meanPart(_ vector: MLXArray) -> MLXArray {
    guard let group else { return vector }
    guard !scatters else { return group.sumScatter(vector) * (1 / Float(size)) }
    return part(mean(vector))
  }

  /// This process's part of a vector that all have.
  func part(_ vector: MLXArray) -> MLXArray {
    let length = vector.dim(0) / size
    return vector[(rank * length)..<((rank + 1) * length)]
  }

  /// The vector of which every process has a part.
  func gather(_ part: MLXArray) -> MLXArray { group?.allGather(part) ?? part }

  /// A zero [1] that is there when an exchange is done.
  static func trace(of exchanged: MLXArray) -> MLXArray { exchanged.reshaped(-1)[0..<1] * 0 }

  /// A list of numbers as each process has it, in the order of their numbers.
  func gather(_ numbers: [Int32]) throws -> [[Int32]] {
    let all = try gather(MLXArray(numbers)).asArray(Int32.self)
    return stride(from: 0, to: all.count, by: numbers.count).map {
      Array(all[$0..<$0 + numbers.count])
    }
  }

  /// Waits until all processes are here.
  func synchronize() throws {
    if let group { try eval(group.allSum(MLXArray(Float(0)))) }
  }
}
