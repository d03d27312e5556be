import MLX
import OrderedCollections

/// The parameters of a model by path, such as `encoder.layer.0.attention.self.query.weight`, in the
/// order in which the modules declare them.
///
/// A flat map where mlx-swift has a tree: paths are the keys of checkpoints.
public typealias ModuleParameters = OrderedDictionary<String, MLXArray>

/// A part of a neural network: parameters, and smaller modules, held in stored properties.
///
/// Reflection finds them. A property that holds an `MLXArray` is a parameter and one that holds a
/// `Module` a child; optionals, arrays and dictionaries (with `String` keys) of these count too.
/// Its key is its name, or the one that ``ModuleInfo`` or ``ParameterInfo`` gives; the parts of a
/// path are joined by dots. Properties whose own name begins with an underscore are private: arrays
/// in them are state, no parameters but known to `compile`, and modules in them are not seen. An array or module that is reached by several paths (tied
/// weights) counts under the first.
open class Module: Updatable {
  /// Whether the module is being trained (as ``Dropout`` asks) or used; `true` at first.
  public private(set) var training = true

  /// Paths, within this module, of its own parameters that are no part of
  /// ``trainableParameters()``.
  var frozen: Set<String> = []

  /// A module in training.
  public init() {}

  /// Switches this module and all inside it to training or to use.
  public func train(_ mode: Bool = true) {
    for module in modules() { module.training = mode }
  }

  /// The parameters and the state, as `compile` asks for them.
  public func innerState() -> [MLXArray] {
    var arrays: [MLXArray] = []
    visit { _, _, entry in
      switch entry.value {
      case .parameter(let array), .state(let array): arrays.append(array)
      case .module: break
      }
    }
    return arrays
  }
}

/// A module of one array: `Linear`, an activation, whatever replaces a `Linear`.
public protocol UnaryLayer: Module {
  /// The output for an input [..., inputs] → [..., outputs].
  func callAsFunction(_ x: MLXArray) -> MLXArray
}

// MARK: - Reflection

/// A parameter, a piece of state or a child of a module, under its path inside the module.
struct Entry {
  enum Value {
    case parameter(MLXArray)
    case state(MLXArray)
    case module(Module)
  }

  /// The property's key, followed by an index or a dictionary's key where it holds several.
  let path: String
  /// The property's key.
  let key: String
  let value: Value

  var identity: ObjectIdentifier {
    switch value {
    case .parameter(let array), .state(let array): ObjectIdentifier(array)
    case .module(let module): ObjectIdentifier(module)
    }
  }
}

/// A stored property of a module that holds something other modules may know.
struct Property {
  let key: String
  let content: Any
  let isState: Bool
  /// The wrapper, if the property has one.
  let info: (any Info)?
}

extension Module {
  /// The stored properties, those of superclasses first.
  func properties() -> [Property] {
    var mirrors: [Mirror] = []
    var next: Mirror? = Mirror(reflecting: self)
    while let mirror = next, mirror.subjectType != Module.self {
      mirrors.append(mirror)
      next = mirror.superclassMirror
    }
    return mirrors.reversed().flatMap { mirror in
      mirror.children.compactMap { label, value -> Property? in
        guard let label else { return nil }
        if let info = value as? any Info {
          return Property(
            key: info.key ?? String(label.dropFirst()), content: info.content, isState: false,
            info: info)
        }
        return Property(
          key: label, content: value, isState: label.hasPrefix("_"), info: nil)
      }
    }
  }

  /// The parameters, state and children, in the order of their declaration.
  func entries() -> [Entry] {
    properties().flatMap { property in
      items(of: property.content).compactMap { suffix, item -> Entry? in
        let path = suffix.map { "\(property.key).\($0)" } ?? property.key
        switch item {
        case .array(let array):
          return Entry(
            path: path, key: property.key,
            value: property.isState ? .state(array) : .parameter(array))
        case .module(let module):
          return property.isState
            ? nil : Entry(path: path, key: property.key, value: .module(module))
        }
      }
    }
  }
}

enum Item {
  case array(MLXArray)
  case module(Module)
}

/// The arrays and modules in the value of a property, with an index or key where it holds several.
func items(of content: Any) -> [(suffix: String?, item: Item)] {
  switch content {
  // Casts look through optionals.
  case let array as MLXArray: return [(nil, .array(array))]
  case let module as Module: return [(nil, .module(module))]
  case let arrays as [MLXArray]:
    return arrays.enumerated().map { (String($0.offset), .array($0.element)) }
  case let modules as [Module]:
    return modules.enumerated().map { (String($0.offset), .module($0.element)) }
  case let arrays as [String: MLXArray]:
    return arrays.sorted { $0.key < $1.key }.map { ($0.key, .array($0.value)) }
  case let modules as [String: Module]:
    return modules.sorted { $0.key < $1.key }.map { ($0.key, .module($0.value)) }
  default: return []
  }
}
