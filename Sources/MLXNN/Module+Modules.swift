import MLX
import OrderedCollections

/// A path continued by one more part.
func joined(_ prefix: String, _ path: String) -> String {
  prefix.isEmpty ? path : "\(prefix).\(path)"
}

extension Module {
  /// The name of the type, for messages.
  var name: String { String(describing: Swift.type(of: self)) }

  /// Calls the body with every entry of this module and of those inside it, each module and array
  /// once, in the order of declaration.
  func visit(_ body: (_ path: String, _ owner: Module, _ entry: Entry) -> Void) {
    var seen: Set<ObjectIdentifier> = [ObjectIdentifier(self)]
    func visit(_ prefix: String, _ module: Module) {
      for entry in module.entries() where seen.insert(entry.identity).inserted {
        let path = joined(prefix, entry.path)
        body(path, module, entry)
        if case .module(let child) = entry.value { visit(path, child) }
      }
    }
    visit("", self)
  }

  /// The modules in this one's own properties, by path.
  public func children() -> OrderedDictionary<String, Module> {
    var result = OrderedDictionary<String, Module>()
    for entry in entries() {
      if case .module(let module) = entry.value { result[entry.path] = module }
    }
    return result
  }

  /// This module, under the path "", and all inside it, outer ones first.
  public func namedModules() -> OrderedDictionary<String, Module> {
    var result: OrderedDictionary<String, Module> = ["": self]
    visit { path, _, entry in
      if case .module(let module) = entry.value { result[path] = module }
    }
    return result
  }

  /// This module and all inside it, outer ones first.
  public func modules() -> [Module] {
    Array(namedModules().values)
  }

  /// The modules that have no modules inside, by path.
  public func leafModules() -> OrderedDictionary<String, Module> {
    namedModules().filter { $0.value.children().isEmpty }
  }

  /// Puts other modules in the places of those at the given paths.
  ///
  /// A place is a property declared with ``ModuleInfo``, or an element of an array or dictionary in
  /// one. A module that is shared is replaced under each given path alone. Throws, before
  /// anything has changed, if there is no module at a path or the property cannot hold the new one.
  public func update(modules new: some Sequence<(key: String, value: Module)>) throws {
    var pending = OrderedDictionary<String, Module>()
    for (path, module) in new { pending[path] = module }
    var replacements: [(info: any Info, value: Any)] = []
    try collect(&replacements, from: &pending, prefix: "")
    if let path = pending.keys.first {
      throw ModuleError.unknownModule(path: path, model: name)
    }
    for (info, value) in replacements { info.replace(by: value) }
  }

  /// Moves what is pending for this module's properties, and those of the modules inside that are
  /// not replaced themselves, to the replacements.
  private func collect(
    _ replacements: inout [(info: any Info, value: Any)],
    from pending: inout OrderedDictionary<String, Module>, prefix: String
  ) throws {
    for property in properties() where !property.isState && !pending.isEmpty {
      var content = property.content
      var changed: String?
      for (suffix, item) in items(of: property.content) {
        guard case .module(let module) = item else { continue }
        let key = suffix.map { "\(property.key).\($0)" } ?? property.key
        let path = joined(prefix, key)
        guard let new = pending.removeValue(forKey: path) else {
          try module.collect(&replacements, from: &pending, prefix: path)
          continue
        }
        content = replacing(suffix, of: content, by: new)
        changed = path
        guard let info = property.info else { throw ModuleError.fixedModule(path: path) }
        guard info.accepts(content) else {
          throw ModuleError.wrongModule(
            path: path, expected: "a value of \(info.type)", got: new.name)
        }
      }
      if changed != nil, let info = property.info { replacements.append((info, content)) }
    }
  }

  /// The content of a property with one of its modules replaced.
  private func replacing(_ suffix: String?, of content: Any, by new: Module) -> Any {
    guard let suffix else { return new }
    if var modules = content as? [Module], let index = Int(suffix) {
      modules[index] = new
      return modules
    }
    if var modules = content as? [String: Module] {
      modules[suffix] = new
      return modules
    }
    return content
  }
}
