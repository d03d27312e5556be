import Dispatch
import Synchronization

/// A source that makes the bytes of the next steps ready while the device computes.
///
/// It guesses that the next request is the last one a step later, which is what a loop asks for;
/// any other request is answered too, and what it answers never depends on what was guessed.
public final class Prefetched<Source: RawBatchSource>: BatchSource {
  /// The source itself.
  public let source: Source

  private let depth: Int
  private let queue = DispatchQueue(label: "prefetch", qos: .userInitiated, attributes: .concurrent)
  private var pending: [BatchRequest: Pending] = [:]

  /// A source that keeps `depth` steps ready.
  public init(_ source: Source, depth: Int) {
    precondition(depth > 0, "at least one step is made ready")
    self.source = source
    self.depth = depth
  }

  /// How many examples there are.
  public var count: Int { source.count }

  /// Part `part` of `parts` equal ones of the step's batch.
  public func batch(step: Int, size: Int, part: Int, of parts: Int) throws -> Batch {
    let request = try BatchRequest(step: step, size: size, part: part, of: parts)
    let wanted = Set((0...depth).map(request.after))
    pending = pending.filter { wanted.contains($0.key) }
    for ahead in 0...depth where pending[request.after(ahead)] == nil {
      pending[request.after(ahead)] = start(request.after(ahead))
    }
    let answer = try pending.removeValue(forKey: request)?.wait() ?? source.raw(request)
    return source.batch(of: answer)
  }

  /// Examples in their stored order.
  public func examples(_ range: Range<Int>) throws -> Batch { try source.examples(range) }

  private func start(_ request: BatchRequest) -> Pending {
    let (pending, source) = (Pending(), source)
    queue.async { pending.finish(Result { try source.raw(request) }) }
    return pending
  }

  /// Bytes that another thread is making.
  private final class Pending: Sendable {
    private let done = DispatchSemaphore(value: 0)
    private let result = Mutex<Result<Source.Raw, any Error>?>(nil)

    func finish(_ value: Result<Source.Raw, any Error>) {
      result.withLock { $0 = value }
      done.signal()
    }

    /// The bytes, once; `nil` never comes after `finish`.
    func wait() throws -> Source.Raw? {
      done.wait()
      return try result.withLock { try $0?.get() }
    }
  }
}
