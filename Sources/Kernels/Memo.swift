import Synchronization

/// What was made once for each key: kernels by what they are made of, plans by the question that they answer.
///
/// A key says all that the values depend on. To describe a kernel's compilation, or to search for a plan, takes the host longer
/// than to launch the kernel. What fails is not kept.
package final class Memo<Key: Hashable & Sendable, Value: Sendable>: Sendable {
  private let values = Mutex<[Key: Value]>([:])

  package init() {}

  /// The value of a key, by `make` when it is first asked for.
  ///
  /// `make` runs outside the lock: threads that ask at once may each make one, and the last one's is kept.
  package func value<Failure: Error>(
    _ key: Key, _ make: () throws(Failure) -> Value
  ) throws(Failure) -> Value {
    if let known = values.withLock({ $0[key] }) { return known }
    let made = try make()
    values.withLock { $0[key] = made }
    return made
  }
}
