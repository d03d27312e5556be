import CMLX

/// Something whose arrays a compiled function reads or writes beside its arguments: a module, an
/// optimiser.
public protocol Updatable: AnyObject {
  /// The arrays, always as many and in the same order.
  func innerState() -> [MLXArray]
}

/// A function that runs as a fused graph: its body is called once for each new set of argument
/// shapes and types (any shapes, if `shapeless`), to record it.
///
/// `inputs` and `outputs` are the states that the body reads and writes; a state it writes has to
/// be in both. `count` is how many arrays the body returns. If a call fails, also because the body
/// throws, its results are failed arrays and the states are what they were.
public func compile(
  inputs: [any Updatable] = [], outputs: [any Updatable] = [], shapeless: Bool = false,
  count: Int = 1, _ function: @escaping ([MLXArray]) throws -> [MLXArray]
) -> ([MLXArray]) -> [MLXArray] {
  func state(_ objects: [any Updatable]) -> [MLXArray] { objects.flatMap { $0.innerState() } }
  // MLX records what the body does to the state as further arguments and results. The objects
  // hold placeholders only while the body runs.
  let kept = KeptFunction {
    let inner = Closure { all in
      let read = state(inputs)
      let held = read + state(outputs)
      let saved = held.map { MLXArray($0.state.retained()) }
      defer { for (array, value) in zip(held, saved) { array.update(value) } }
      let arguments = all.count - read.count
      for (array, traced) in zip(read, all[arguments...]) { array.update(traced) }
      let results = try function(Array(all[..<arguments]))
      // Copies: a result that is itself a state would be put back before it is read.
      return (results + state(outputs)).map { MLXArray($0.state.retained()) }
    }
    return cmlx_compile(&$0, inner.makeC(), shapeless)
  }
  return { arguments in
    do throws(MLXError) {
      let all = try kept.call(arguments + state(inputs))
      let written = state(outputs)
      let results = all.count - written.count
      for (array, value) in zip(written, all[results...]) { array.update(value) }
      return Array(all[..<results])
    } catch {
      return (0..<count).map { _ in MLXArray(failure: error) }
    }
  }
}

extension MLXArray.State {
  /// The same value under a handle of its own.
  func retained() -> MLXArray.State {
    switch self {
    case .array(let handle): .array(cmlx_array_copy(handle))
    case .failed: self
    }
  }
}
