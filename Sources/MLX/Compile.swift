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
/// be in both. `count` is how many arrays the body returns.
public func compile(
  inputs: [any Updatable] = [], outputs: [any Updatable] = [], shapeless: Bool = false,
  count: Int = 1, _ function: @escaping ([MLXArray]) -> [MLXArray]
) -> ([MLXArray]) -> [MLXArray] {
  func state(_ objects: [any Updatable]) -> [MLXArray] { objects.flatMap { $0.innerState() } }
  // MLX records what the body does to the state as further arguments and results. The objects
  // hold placeholders only while the body runs.
  let kept = KeptFunction {
    let inner = Closure { all in
      let held = state(inputs)
      let saved = held.map { MLXArray($0.state.retained()) }
      let arguments = all.count - held.count
      for (array, traced) in zip(held, all[arguments...]) { array.replace(by: traced) }
      let results = function(Array(all[..<arguments]))
      let written = state(outputs).map { MLXArray($0.state.retained()) }
      for (array, value) in zip(state(inputs), saved) { array.replace(by: value) }
      return results + written
    }
    return cmlx_compile(&$0, inner.makeC(), shapeless)
  }
  return { arguments in
    let all = kept(arguments + state(inputs), count: count + state(outputs).count)
    let results = min(count, all.count)
    for (array, value) in zip(state(outputs), all[results...]) { array.replace(by: value) }
    return Array(all[..<results])
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
