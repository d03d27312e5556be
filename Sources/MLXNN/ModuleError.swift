/// What is wrong with parameters or modules that a model is to take.
public enum ModuleError: Error, Hashable, Sendable, CustomStringConvertible {
  /// A parameter that the model does not have.
  case unknownParameter(path: String, model: String)
  /// Parameters of the model that were not given.
  case missingParameters(paths: [String], model: String)
  /// A parameter of another shape than the model's.
  case wrongShape(path: String, expected: [Int], got: [Int])
  /// A path under which the model has no module.
  case unknownModule(path: String, model: String)
  /// A module that the property at the path cannot hold.
  case wrongModule(path: String, expected: String, got: String)
  /// A module whose property was not declared replaceable.
  case fixedModule(path: String)
  /// A key to freeze or unfreeze that no module has.
  case unknownKey(key: String, model: String)

  /// The sentence.
  public var description: String {
    switch self {
    case .unknownParameter(let path, let model):
      return "[update] expected parameters that \(model) has, got \"\(path)\" as well; "
        + "check that the checkpoint belongs to this model."
    case .missingParameters(let paths, let model):
      let shown = paths.prefix(3).map { "\"\($0)\"" }.joined(separator: ", ")
      let rest = paths.count > 3 ? " and \(paths.count - 3) more" : ""
      return "[update] expected all parameters of \(model), got none for \(shown)\(rest); "
        + "check that the checkpoint belongs to this model."
    case .wrongShape(let path, let expected, let got):
      return "[update] expected \"\(path)\" of shape \(expected), got \(got); "
        + "check that the checkpoint belongs to this model."
    case .unknownModule(let path, let model):
      return "[update] expected the path of a module of \(model), got \"\(path)\"; "
        + "namedModules() lists the paths."
    case .wrongModule(let path, let expected, let got):
      return "[update] expected \(expected) for \"\(path)\", got \(got); "
        + "declare the property as a type that both share."
    case .fixedModule(let path):
      return "[update] expected a replaceable module at \"\(path)\", got one that is not; "
        + "declare its property with @ModuleInfo."
    case .unknownKey(let key, let model):
      return "[freeze] expected a key of a parameter of \(model), got \"\(key)\"; "
        + "parameters() lists them."
    }
  }
}
