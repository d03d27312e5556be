import MLX
import OrderedCollections

/// What ``Module/update(parameters:verify:)`` insists on beside equal shapes.
public struct VerifyUpdate: OptionSet, Sendable {
  /// The bits.
  public let rawValue: Int

  /// A set of bits.
  public init(rawValue: Int) {
    self.rawValue = rawValue
  }

  /// Every given parameter is one that the model has.
  public static let noUnusedKeys = VerifyUpdate(rawValue: 1)
  /// Every parameter of the model is given.
  public static let allModelKeysSet = VerifyUpdate(rawValue: 2)

  /// Both.
  public static let all: VerifyUpdate = [.noUnusedKeys, .allModelKeysSet]
  /// Neither: parameters the model does not have are passed over.
  public static let none: VerifyUpdate = []
}

extension Module {
  /// All parameters by path.
  public func parameters() -> ModuleParameters {
    parameters { _, _ in true }
  }

  /// The parameters that are not frozen, by path.
  ///
  /// Integers and Booleans, such as the indices of a sparse layer, have no gradient and are left out.
  public func trainableParameters() -> ModuleParameters {
    parameters { module, entry in !module.frozen.contains(entry.path) }
      .filter { $0.value.dtype.isFloatingPoint }
  }

  private func parameters(where included: (Module, Entry) -> Bool) -> ModuleParameters {
    var result = ModuleParameters()
    visit { path, owner, entry in
      if case .parameter(let array) = entry.value, included(owner, entry) {
        result[path] = array
      }
    }
    return result
  }

  /// Gives the parameters new values; the arrays stay the same objects, of the new values' type.
  ///
  /// Throws, before anything has changed, if a shape differs, if a value is a failed array, or if
  /// the paths are not what `verify` insists on.
  public func update(
    parameters new: some Sequence<(key: String, value: MLXArray)>, verify: VerifyUpdate = .all
  ) throws {
    let own = parameters()
    var pairs: [(target: MLXArray, value: MLXArray)] = []
    var missing = OrderedSet(own.keys)
    for (path, value) in new {
      guard let target = own[path] else {
        if verify.contains(.noUnusedKeys) {
          throw ModuleError.unknownParameter(path: path, model: name)
        }
        continue
      }
      if let failure = value.failure { throw failure }
      guard target.failure != nil || target.shape == value.shape else {
        throw ModuleError.wrongShape(path: path, expected: target.shape, got: value.shape)
      }
      missing.remove(path)
      pairs.append((target, value))
    }
    if verify.contains(.allModelKeysSet), !missing.isEmpty {
      throw ModuleError.missingParameters(paths: Array(missing), model: name)
    }
    for (target, value) in pairs { target.update(value) }
  }

  /// Replaces every parameter by a function of it, as when changing the element type.
  ///
  /// Throws if a result is a failed array or has another shape.
  public func apply(
    filter: (String, MLXArray) -> Bool = { _, _ in true }, map: (MLXArray) -> MLXArray
  ) throws {
    let chosen = parameters().filter { filter($0.key, $0.value) }
    try update(parameters: chosen.mapValues(map), verify: .noUnusedKeys)
  }

  /// Takes parameters out of ``trainableParameters()``: those with one of the given keys, all
  /// without keys; of all modules inside, of this one alone if not `recursive`.
  ///
  /// The key of a property that holds several parameters means all of them, `key.name` one of them:
  /// `stl.encoder` of a structured layer. Throws if no module has such a key.
  public func freeze(recursive: Bool = true, keys: [String]? = nil) throws {
    try change(recursive: recursive, keys: keys) { $0.frozen.formUnion($1) }
  }

  /// Puts parameters back into ``trainableParameters()``: those with one of the given keys, all
  /// without keys; of all modules inside, of this one alone if not `recursive`.
  ///
  /// Throws if no module has such a key.
  public func unfreeze(recursive: Bool = true, keys: [String]? = nil) throws {
    try change(recursive: recursive, keys: keys) { $0.frozen.subtract($1) }
  }

  private func change(
    recursive: Bool, keys: [String]?, _ body: (Module, Set<String>) -> Void
  ) throws {
    let changes = (recursive ? modules() : [self]).map { module in
      let own = module.entries().filter { entry in
        if case .parameter = entry.value { true } else { false }
      }
      return (module, own)
    }
    func means(_ key: String, _ entry: Entry) -> Bool { key == entry.key || key == entry.path }
    for key in keys ?? []
    where !changes.contains(where: { $0.1.contains { means(key, $0) } }) {
      throw ModuleError.unknownKey(key: key, model: name)
    }
    for (module, own) in changes {
      let chosen = own.filter { entry in keys?.contains { means($0, entry) } ?? true }
      body(module, Set(chosen.map(\.path)))
    }
  }
}
